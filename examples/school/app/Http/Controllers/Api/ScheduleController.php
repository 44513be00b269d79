<?php

namespace App\Http\Controllers\Api;

use App\Models\ScheduleRun;
use Illuminate\Http\JsonResponse;

class ScheduleController
{
    /** The latest runs of the scheduler, newest first: each minute should be there once. */
    public function __invoke(): JsonResponse
    {
        $runs = ScheduleRun::onWriteConnection()->latest('id')->limit(60)->get();

        return response()->json(['runs' => $runs], 200, ['Cache-Control' => 'no-store']);
    }
}
