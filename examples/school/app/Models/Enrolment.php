<?php

namespace App\Models;

use Illuminate\Database\Eloquent\Model;

class Enrolment extends Model
{
    use CreatedOnceByKey;

    protected $fillable = ['key', 'academy_id', 'course_id', 'student'];

    protected $casts = ['confirmed_at' => 'datetime', 'notified_at' => 'datetime'];
}
