<?php

namespace App\Support;

use Illuminate\Support\Facades\Queue;
use Illuminate\Support\Facades\Redis;

/**
 * The one place that knows how a queue is called where it is stored.
 *
 * Laravel 10 keeps a queue in several Redis keys and moves jobs between them in one script, so on Redis Cluster the
 * name must carry a {hash tag} that puts them on one shard. Braces do no harm to other drivers.
 */
class Queues
{
    /** @return list<string> plain names, most urgent first */
    public static function names(): array
    {
        return config('school.queues');
    }

    public static function stored(string $name): string
    {
        return '{'.$name.'}';
    }

    /** @return array<string, array{length: int, oldest_seconds: ?float, reserved: ?int, delayed: ?int}> */
    public static function state(): array
    {
        return collect(self::names())->mapWithKeys(fn (string $name) => [$name => self::stateOf($name)])->all();
    }

    private static function stateOf(string $name): array
    {
        $connection = config('queue.default');

        if (config("queue.connections.$connection.driver") !== 'redis') {
            return ['length' => Queue::size(self::stored($name)), 'oldest_seconds' => null, 'reserved' => null, 'delayed' => null];
        }

        $redis = Redis::connection(config("queue.connections.$connection.connection"));
        $key = 'queues:'.self::stored($name);
        // Jobs are pushed at the tail and taken from the head: the head waits longest.
        $oldest = json_decode((string) $redis->lindex($key, 0), true);

        return [
            'length' => (int) $redis->llen($key),
            'oldest_seconds' => isset($oldest['pushedAt']) ? round(max(0, microtime(true) - $oldest['pushedAt']), 3) : null,
            'reserved' => (int) $redis->zcard("$key:reserved"),
            'delayed' => (int) $redis->zcard("$key:delayed"),
        ];
    }
}
