<?php

namespace App\Jobs;

use App\Models\WorkItem;
use App\Support\Server;
use Illuminate\Bus\Queueable;
use Illuminate\Contracts\Queue\ShouldQueue;
use Illuminate\Foundation\Bus\Dispatchable;
use Illuminate\Queue\InteractsWithQueue;
use RuntimeException;
use Throwable;

/** Works for as many seconds as asked, and keeps its state in the database. */
class DoWork implements ShouldQueue
{
    use Dispatchable, InteractsWithQueue, Queueable;

    public function __construct(public readonly int $workItemId)
    {
    }

    public function handle(): void
    {
        $item = WorkItem::onWriteConnection()->find($this->workItemId);

        // A second copy of the job, or a second delivery of one that had finished, finds nothing left to do.
        if ($item === null || in_array($item->state, ['done', 'failed'], true)) {
            return;
        }

        $this->write(['state' => 'running', 'worker' => Server::name(), 'attempts' => $this->attempts(), 'started_at' => now()]);
        $this->work($item->seconds);

        if ($item->fail) {
            // Queued again until its last try is used up: then failed() has the last word.
            $this->write(['state' => 'queued']);

            throw new RuntimeException("Job {$item->id} was asked to fail.");
        }

        $this->write(['state' => 'done', 'finished_at' => now()]);
    }

    public function failed(?Throwable $e): void
    {
        $this->write(['state' => 'failed', 'error' => mb_substr($e?->getMessage() ?? '', 0, 500), 'finished_at' => now()]);
    }

    /** sleep() returns early when the worker is told to stop; a job has to do all of its work first. */
    private function work(float $seconds): void
    {
        $end = hrtime(true) + (int) ($seconds * 1e9);

        while (($left = $end - hrtime(true)) > 0) {
            usleep((int) min(intdiv($left, 1000) + 1, 200_000));
        }
    }

    private function write(array $values): void
    {
        WorkItem::whereKey($this->workItemId)->update(array_map(
            fn ($value) => $value instanceof \DateTimeInterface ? $value->format('Y-m-d H:i:s.v') : $value,
            $values,
        ));
    }
}
