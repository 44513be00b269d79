<?php

namespace App\Models;

use Illuminate\Database\Eloquent\Model;

class ScheduleRun extends Model
{
    public $timestamps = false;

    protected $dateFormat = 'Y-m-d H:i:s.v';

    protected $fillable = ['minute', 'host', 'release', 'ran_at'];

    protected $casts = ['minute' => 'datetime', 'ran_at' => 'datetime'];
}
