<?php

namespace App\Models;

use Illuminate\Database\Eloquent\Model;

/** A job that somebody asked for, and what became of it: queued, running, done or failed. */
class WorkItem extends Model
{
    use CreatedOnceByKey;

    public $timestamps = false;

    protected $dateFormat = 'Y-m-d H:i:s.v';

    protected $fillable = ['key', 'queue', 'seconds', 'fail', 'state', 'queued_at'];

    protected $attributes = ['attempts' => 0];

    protected $casts = [
        'seconds' => 'float',
        'fail' => 'boolean',
        'attempts' => 'integer',
        'queued_at' => 'datetime',
        'dispatched_at' => 'datetime',
        'started_at' => 'datetime',
        'finished_at' => 'datetime',
    ];
}
