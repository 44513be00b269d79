<?php

namespace App\Storage;

class Picture
{
    public function __construct(
        public readonly int $size,
        public readonly string $etag,
        public readonly string $type,
    ) {
    }
}
