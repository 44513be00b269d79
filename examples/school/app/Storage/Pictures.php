<?php

namespace App\Storage;

use Illuminate\Contracts\Filesystem\Filesystem;
use Illuminate\Support\Facades\Storage;
use RuntimeException;

/** Pictures on the configured disk, under pictures/<name>. Works with any Flysystem disk; streams both ways. */
class Pictures
{
    private const SHOWN = ['png', 'jpg', 'jpeg', 'gif', 'webp', 'avif', 'svg'];

    /**
     * @param resource $body
     * @return ?Picture null when the body is longer than $limit
     */
    public function store(string $name, $body, ?string $type = null, ?int $limit = null): ?Picture
    {
        [$size, $etag] = $this->measure($body);

        if ($limit !== null && $size > $limit) {
            return null;
        }

        $options = $type ? ['ContentType' => $type] : [];

        if (! $this->disk()->writeStream($this->path($name), $body, $options)) {
            throw new RuntimeException("The picture $name could not be stored.");
        }

        return new Picture($size, $etag, $this->type($name));
    }

    public function find(string $name): ?Picture
    {
        $adapter = $this->disk()->getAdapter();

        if ($adapter instanceof S3Adapter) {
            $object = $adapter->stat($this->path($name));

            return $object === null ? null : new Picture($object['size'], $object['etag'], $this->type($name));
        }

        if (! $this->disk()->fileExists($this->path($name))) {
            return null;
        }

        return new Picture($this->disk()->size($this->path($name)), $this->disk()->checksum($this->path($name)), $this->type($name));
    }

    /** @return resource */
    public function open(string $name)
    {
        return $this->disk()->readStream($this->path($name)) ?? throw new RuntimeException("The picture $name could not be read.");
    }

    public function delete(string $name): bool
    {
        return $this->find($name) !== null && $this->disk()->delete($this->path($name));
    }

    /** The type follows from the name, not from what the uploader claims. */
    private function type(string $name): string
    {
        $extension = strtolower(pathinfo($name, PATHINFO_EXTENSION));

        return match (true) {
            ! in_array($extension, self::SHOWN, true) => 'application/octet-stream',
            $extension === 'svg' => 'image/svg+xml',
            $extension === 'jpg' => 'image/jpeg',
            default => "image/$extension",
        };
    }

    /**
     * @param resource $body
     * @return array{int, string} length in bytes, MD5: what S3 answers as ETag of an object stored in one piece
     */
    private function measure($body): array
    {
        rewind($body);
        $hash = hash_init('md5');
        $size = hash_update_stream($hash, $body);
        rewind($body);

        return [$size, hash_final($hash)];
    }

    private function path(string $name): string
    {
        return "pictures/$name";
    }

    private function disk(): Filesystem
    {
        return Storage::disk(config('school.picture_disk'));
    }
}
