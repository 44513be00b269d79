<?php

namespace App\Console;

use Illuminate\Console\Scheduling\Schedule;
use Illuminate\Foundation\Console\Kernel as ConsoleKernel;

class Kernel extends ConsoleKernel
{
    protected function schedule(Schedule $schedule): void
    {
        // The minute that is due, whenever its turn comes on a busy host. Called, not run as commands of their own: two
        // processes less each minute.
        $minute = now()->format('Y-m-d H:i');
        $schedule->call(fn () => $this->call('school:heartbeat', ['minute' => $minute]))->name('school:heartbeat')->everyMinute();
        $schedule->call(fn () => $this->call('school:welcome'))->name('school:welcome')->everyMinute();
    }

    protected function commands(): void
    {
        $this->load(__DIR__.'/Commands');
    }
}
