<?php

namespace App\Models;

use Illuminate\Database\Eloquent\Model;
use Illuminate\Database\Eloquent\Relations\HasMany;

/** A tenant: everything else belongs to one academy. */
class Academy extends Model
{
    protected $fillable = ['name', 'city'];

    public function courses(): HasMany
    {
        return $this->hasMany(Course::class);
    }
}
