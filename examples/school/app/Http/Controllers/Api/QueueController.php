<?php

namespace App\Http\Controllers\Api;

use App\Support\Queues;
use Illuminate\Http\JsonResponse;

class QueueController
{
    public function __invoke(): JsonResponse
    {
        return response()->json(['queues' => Queues::state()], 200, ['Cache-Control' => 'no-store']);
    }
}
