<?php

/*
 * Stands in for Composer's autoloader: the framework and its libraries are Debian packages (see README.md), so
 * nothing has to be downloaded to build a release. `composer install` would replace this file, and may.
 */

foreach ([
    'Illuminate/autoload.php',
    'AsyncAws/Core/autoload.php',
    'Symfony/Component/HttpClient/autoload.php',
] as $library) {
    if (! is_file('/usr/share/php/'.$library)) {
        throw new RuntimeException("/usr/share/php/$library is missing: install php-laravel-framework, php-async-aws-core and php-symfony-http-client.");
    }

    require_once '/usr/share/php/'.$library;
}

spl_autoload_register(static function (string $class): void {
    if (str_starts_with($class, 'App\\')) {
        $file = dirname(__DIR__).'/app/'.strtr(substr($class, 4), '\\', '/').'.php';

        if (is_file($file)) {
            require $file;
        }
    }
});
