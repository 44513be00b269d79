<?php

namespace App\Jobs;

use App\Models\Enrolment;
use App\Support\Queues;
use Illuminate\Bus\Queueable;
use Illuminate\Contracts\Queue\ShouldQueue;
use Illuminate\Foundation\Bus\Dispatchable;

/** Where a real school sends the e-mail. Runs twice without harm. */
class ConfirmEnrolment implements ShouldQueue
{
    use Dispatchable, Queueable;

    public function __construct(public readonly int $enrolmentId)
    {
        $this->onQueue(Queues::stored('emails'));
        $this->afterCommit();
    }

    public function handle(): void
    {
        if (Enrolment::whereKey($this->enrolmentId)->whereNull('confirmed_at')->update(['confirmed_at' => now()])) {
            NotifyAcademy::dispatch($this->enrolmentId);
        }
    }
}
