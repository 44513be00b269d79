<?php

namespace App\Http\Controllers\Api;

use App\Jobs\DoWork;
use App\Models\WorkItem;
use App\Support\Queues;
use Illuminate\Http\JsonResponse;
use Illuminate\Http\Request;
use Illuminate\Validation\Rule;

class JobController
{
    public function store(Request $request): JsonResponse
    {
        $input = $request->validate([
            'queue' => ['required', Rule::in(Queues::names())],
            'seconds' => ['required', 'numeric', 'min:0', 'max:'.config('school.job_seconds_max')],
            'key' => ['required', 'string', 'max:100'],
            'fail' => ['boolean'],
        ]);
        $item = WorkItem::onceByKey($input['key'], [
            'queue' => $input['queue'],
            'seconds' => $input['seconds'],
            'fail' => $input['fail'] ?? false,
            'state' => 'queued',
            'queued_at' => now(),
        ]);

        // Not set when an earlier request with this key was cut short between the row and the queue.
        if ($item->dispatched_at === null) {
            DoWork::dispatch($item->id)->onQueue(Queues::stored($item->queue));
            $item->newQuery()->whereKey($item->id)->update(['dispatched_at' => now()->format('Y-m-d H:i:s.v')]);
        }

        return response()->json(['id' => $item->id], 202, ['Location' => "/api/jobs/{$item->id}"]);
    }

    public function show(int $id): JsonResponse
    {
        $item = WorkItem::onWriteConnection()->find($id) ?? abort(404, "There is no job $id.");

        return response()->json($item, 200, ['Cache-Control' => 'no-store']);
    }
}
