<?php

namespace App\Models;

use Illuminate\Database\UniqueConstraintViolationException;

/** For rows whose `key` the client chooses, so that it can repeat a request without doing it twice. */
trait CreatedOnceByKey
{
    /**
     * The row with this key: a new one, or the one that an earlier request made (the unique index decides, so two
     * requests at the same moment get the same row). Read from the server for writes: a replica may not have it yet.
     *
     * @param array<string, mixed> $attributes
     */
    public static function onceByKey(string $key, array $attributes): static
    {
        try {
            return static::create(['key' => $key] + $attributes);
        } catch (UniqueConstraintViolationException) {
            return static::onWriteConnection()->where('key', $key)->firstOrFail();
        }
    }
}
