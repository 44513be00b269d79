<?php

namespace App\Console\Commands;

use App\Models\ScheduleRun;
use App\Support\Server;
use Illuminate\Console\Command;
use Illuminate\Support\Carbon;

/** One row for each run of the scheduler. Nothing makes the minute unique: a second scheduler shows as a second row. */
class Heartbeat extends Command
{
    protected $signature = 'school:heartbeat {minute : The minute that was due, as 2027-01-31 08:15}';

    protected $description = 'Write down that the scheduler ran, in which minute and on which host';

    public function handle(): int
    {
        ScheduleRun::create([
            'minute' => Carbon::parse($this->argument('minute')),
            'host' => Server::name(),
            'release' => Server::release(),
            'ran_at' => now(),
        ]);

        return self::SUCCESS;
    }
}
