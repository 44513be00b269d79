<?php

namespace App\Providers;

use App\Storage\S3Adapter;
use App\Storage\S3Client;
use Illuminate\Contracts\Foundation\Application;
use Illuminate\Filesystem\FilesystemAdapter;
use Illuminate\Support\Facades\Queue;
use Illuminate\Support\Facades\Storage;
use Illuminate\Support\ServiceProvider;
use League\Flysystem\Filesystem;

class AppServiceProvider extends ServiceProvider
{
    public function boot(): void
    {
        // Laravel's own s3 driver needs packages that Debian doesn't have. This one reads the same disk configuration.
        Storage::extend('s3', function (Application $app, array $config) {
            $adapter = new S3Adapter(S3Client::fromDisk($config));

            return new FilesystemAdapter(new Filesystem($adapter), $adapter, $config);
        });

        // The age of the oldest job is read from this.
        Queue::createPayloadUsing(fn () => ['pushedAt' => microtime(true)]);
    }
}
