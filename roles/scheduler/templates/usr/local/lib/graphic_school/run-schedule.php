<?php

/*
 * run-schedule.php <folder of the current release> <seconds to wait> <Redis connection>
 *
 * Runs Laravel's schedule, if this host is the first of the fleet to claim the minute. The claim goes through the
 * application's own Redis connection, so it works with whatever that is: one server, a cluster, any client.
 *
 * The minute is that of this host's clock, because schedule:run decides by the same clock what is due. Clocks of the
 * candidates may differ by less than a minute without a minute being run twice, as the claim is for the minute's name.
 * A host that dies between its claim and its run loses that minute: at most once, never twice.
 */

declare(strict_types=1);

const GIVE_UP_AT_SECOND = 40;

[, $current, $delay, $name] = $argv;
$minute = gmdate('Y-m-d\TH:i');
$folder = realpath($current);

if ($folder === false || ! is_file("$folder/artisan")) {
    exit(0);
}

usleep((int) ((float) $delay * 1e6));
chdir($folder);
$autoload = array_values(array_filter(["$folder/vendor/autoload.php", "$folder/bootstrap/autoload.php"], is_file(...)));
require $autoload[0];
$app = require "$folder/bootstrap/app.php";
$kernel = $app->make(Illuminate\Contracts\Console\Kernel::class);
$kernel->bootstrap();

$key = "scheduler:$minute";
$claim = gethostname().':'.getmypid();

while (true) {
    try {
        $redis = $app['redis']->connection($name);
        // An answer may have got lost: a claim with this very name is ours.
        $won = $redis->set($key, $claim, 'EX', 600, 'NX') || $redis->get($key) === $claim;
        break;
    } catch (Throwable $e) {
        if ((int) date('s') >= GIVE_UP_AT_SECOND || gmdate('Y-m-d\TH:i') !== $minute) {
            fwrite(STDERR, "Nobody could be asked who runs the schedule of $minute: {$e->getMessage()}\n");
            exit(1);
        }

        $app['redis']->purge($name);
        usleep(500_000);
    }
}

if (! $won) {
    exit(0);
}

if (gmdate('Y-m-d\TH:i') !== $minute) {
    fwrite(STDERR, "$minute was over before its schedule could begin; this host is too slow.\n");
    exit(1);
}

fwrite(STDOUT, "This host runs the schedule of $minute.\n");
$input = new Symfony\Component\Console\Input\ArrayInput(['command' => 'schedule:run']);
$status = $kernel->handle($input, new Symfony\Component\Console\Output\ConsoleOutput);
$kernel->terminate($input, $status);
exit($status);
