<?php

namespace App\Http\Controllers\Api;

use App\Support\Server;
use Illuminate\Http\JsonResponse;
use Illuminate\Http\Request;

/** Takes as long as it is asked to, as a report or an export would, and needs nothing but its PHP process. */
class SlowController
{
    private const SECONDS_MAX = 10;

    public function __invoke(Request $request): JsonResponse
    {
        $input = $request->validate(['seconds' => ['required', 'numeric', 'min:0', 'max:'.self::SECONDS_MAX]]);
        $end = hrtime(true) + (int) ($input['seconds'] * 1e9);

        // A signal cuts a sleep short; the answer has to take its whole time.
        while (($left = $end - hrtime(true)) > 0) {
            usleep((int) min(intdiv($left, 1000) + 1, 200_000));
        }

        return response()->json(
            ['seconds' => (float) $input['seconds'], 'server' => Server::name(), 'release' => Server::release()],
            200,
            ['Cache-Control' => 'no-store'],
        );
    }
}
