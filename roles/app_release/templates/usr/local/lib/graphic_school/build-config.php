<?php

/*
 * Build the configuration cache of a Laravel release, with the fleet's values laid over the application's own.
 *
 *   php build-config.php RELEASE VALUES TARGET
 *
 * RELEASE  folder of the release (holds artisan); its files stay as they are
 * VALUES   JSON: {"remove": ["dotted.key", ...], "set": {"dotted.key": value, ...}, "release_paths": {"dotted.key": "path in the release"}}
 * TARGET   the file to write; it appears complete or not at all
 *
 * It does what `php artisan config:cache` does: the application is booted so that packages add their defaults, and the whole
 * configuration is written as one PHP array. A cache that exists already is not read (APP_CONFIG_CACHE names a file that
 * does not exist), so that values are never merged twice and the cache in use stays in place meanwhile.
 */

declare(strict_types=1);

use Illuminate\Foundation\Bootstrap;

ini_set('display_errors', 'stderr');
error_reporting(E_ALL & ~E_DEPRECATED & ~E_USER_DEPRECATED);

function refuse(string $sentence): never
{
    fwrite(STDERR, $sentence . PHP_EOL);
    exit(1);
}

if ($argc !== 4) {
    refuse('usage: build-config.php RELEASE VALUES TARGET');
}
[, $release, $valuesFile, $target] = $argv;

$unfinished = $target . '.' . getmypid();
putenv('APP_CONFIG_CACHE=' . $unfinished . '.absent');
$_ENV['APP_CONFIG_CACHE'] = $_SERVER['APP_CONFIG_CACHE'] = $unfinished . '.absent';

$values = json_decode((string) file_get_contents($valuesFile), true, 64);
if (! is_array($values)) {
    refuse("$valuesFile is not JSON: " . json_last_error_msg());
}

$loader = null;
foreach (['vendor/autoload.php', 'bootstrap/autoload.php'] as $candidate) {
    if (is_file("$release/$candidate")) {
        $loader = "$release/$candidate";
        break;
    }
}
if ($loader === null) {
    refuse("$release has no vendor/autoload.php; add a build step such as: composer install --no-dev");
}

define('LARAVEL_START', microtime(true));
require $loader;
$app = require "$release/bootstrap/app.php";

$layOver = static function () use ($app, $values, $release): void {
    $config = $app->make('config');
    $all = $config->all();
    foreach ($values['remove'] ?? [] as $key) {
        Illuminate\Support\Arr::forget($all, $key);
    }
    foreach ($values['set'] ?? [] as $key => $value) {
        Illuminate\Support\Arr::set($all, $key, $value);
    }
    foreach ($values['release_paths'] ?? [] as $key => $path) {
        Illuminate\Support\Arr::set($all, $key, "$release/$path");
    }
    Illuminate\Support\Arr::set($all, 'fleet.release', basename($release));
    foreach ($all as $key => $value) {
        $config->set($key, $value);
    }
};

try {
    $app->bootstrapWith([Bootstrap\LoadEnvironmentVariables::class, Bootstrap\LoadConfiguration::class]);
    $layOver();
    // Providers add the defaults of their packages; they already see the fleet's values.
    $app->bootstrapWith([
        Bootstrap\HandleExceptions::class,
        Bootstrap\RegisterFacades::class,
        Bootstrap\SetRequestForConsole::class,
        Bootstrap\RegisterProviders::class,
        Bootstrap\BootProviders::class,
    ]);
    $layOver();
} catch (Throwable $error) {
    refuse(sprintf('%s could not be started: %s in %s:%d', $release, $error->getMessage(), $error->getFile(), $error->getLine()));
}

$all = $app->make('config')->all();
foreach ($all as $name => $section) {
    array_walk_recursive($section, static function ($value, $key) use ($name): void {
        if ($value instanceof Closure) {
            refuse("config/$name.php can't be cached: the value of '$key' is a closure; move it into a service provider");
        }
    });
}
try {
    umask(0027);
    if (file_put_contents($unfinished, '<?php return ' . var_export($all, true) . ';' . PHP_EOL) === false) {
        refuse("$unfinished could not be written");
    }
    $reread = require $unfinished;
    if (! is_array($reread) || ! isset($reread['app'])) {
        refuse("the configuration of $release can't be cached: it does not read back");
    }
} catch (Throwable $error) {
    @unlink($unfinished);
    refuse("the configuration of $release can't be cached: " . $error->getMessage());
}
if (! rename($unfinished, $target)) {
    refuse("$target could not be replaced");
}
