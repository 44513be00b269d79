<?php

/*
 * The application's own settings. Everything else under config/ is as Laravel 10 ships it.
 */

return [
    // Queues, most urgent first. On Redis Cluster they are stored hash-tagged: see App\Support\Queues.
    'queues' => explode(',', env('SCHOOL_QUEUES', 'payments,default,emails,notifications')),

    // Longest job that POST /api/jobs accepts, in seconds. Keep it below the workers' timeout.
    'job_seconds_max' => (int) env('SCHOOL_JOB_SECONDS_MAX', 50),

    // Requests that one client address may send to the API per minute.
    'api_requests_per_minute' => (int) env('SCHOOL_API_REQUESTS_PER_MINUTE', 60000),

    // Disk and size limit of pictures, in bytes.
    'picture_disk' => env('SCHOOL_PICTURE_DISK', env('FILESYSTEM_DISK', 'local')),
    'picture_bytes_max' => (int) env('SCHOOL_PICTURE_BYTES_MAX', 50 * 1024 * 1024),

    // How long a page of courses is kept in the cache store and in shared caches, in seconds.
    'courses_cache_seconds' => (int) env('SCHOOL_COURSES_CACHE_SECONDS', 30),
];
