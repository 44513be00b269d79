<?php

namespace App\Jobs;

use App\Models\Enrolment;
use App\Support\Queues;
use Illuminate\Bus\Queueable;
use Illuminate\Contracts\Queue\ShouldQueue;
use Illuminate\Foundation\Bus\Dispatchable;

/** Where a real school tells its office. Runs twice without harm. */
class NotifyAcademy implements ShouldQueue
{
    use Dispatchable, Queueable;

    public function __construct(public readonly int $enrolmentId)
    {
        $this->onQueue(Queues::stored('notifications'));
    }

    public function handle(): void
    {
        Enrolment::whereKey($this->enrolmentId)->whereNull('notified_at')->update(['notified_at' => now()]);
    }
}
