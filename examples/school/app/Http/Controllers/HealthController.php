<?php

namespace App\Http\Controllers;

use App\Support\Database;
use App\Support\Queues;
use Closure;
use Illuminate\Http\JsonResponse;
use Illuminate\Support\Facades\Cache;
use Illuminate\Support\Facades\Queue;
use Illuminate\Support\Facades\Storage;
use RuntimeException;
use Throwable;

class HealthController
{
    /** The process answers. Says nothing about what stands behind it, so that an outage there can't empty the pool. */
    public function shallow(): JsonResponse
    {
        return response()->json(['status' => 'ok']);
    }

    /** Everything a request may need has answered just now. */
    public function deep(): JsonResponse
    {
        $checks = [
            'database' => $this->check(function () {
                return ['read' => Database::readServer(), 'write' => Database::isWritable()
                    ? Database::writeServer()
                    : throw new RuntimeException('the server for writes is read-only'), ];
            }),
            'cache' => $this->check(function () {
                $key = 'health:'.bin2hex(random_bytes(8));
                Cache::put($key, $key, 10);

                return Cache::pull($key) === $key ? [] : throw new RuntimeException('what was written could not be read');
            }),
            'queue' => $this->check(fn () => ['default' => Queue::size(Queues::stored('default'))]),
            'storage' => $this->check(fn () => Storage::disk(config('school.picture_disk'))->directoryExists('')
                ? []
                : throw new RuntimeException('the bucket or folder does not exist')),
        ];
        $ok = collect($checks)->every(fn (array $check) => $check['state'] === 'ok');

        return response()->json(['status' => $ok ? 'ok' : 'failing'] + $checks, $ok ? 200 : 503, ['Cache-Control' => 'no-store']);
    }

    /** @param Closure(): array<string, mixed> $probe */
    private function check(Closure $probe): array
    {
        $start = microtime(true);

        try {
            $result = ['state' => 'ok'] + $probe();
        } catch (Throwable $e) {
            report($e);
            $result = ['state' => 'failing', 'message' => $e instanceof RuntimeException && get_class($e) === RuntimeException::class ? $e->getMessage() : 'not reachable ('.class_basename($e).', see the log)'];
        }

        return $result + ['milliseconds' => round((microtime(true) - $start) * 1000, 1)];
    }
}
