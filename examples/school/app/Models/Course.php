<?php

namespace App\Models;

use Illuminate\Database\Eloquent\Model;
use Illuminate\Database\Eloquent\Relations\BelongsTo;

class Course extends Model
{
    protected $fillable = ['academy_id', 'title', 'summary', 'price_cents', 'starts_on'];

    protected $casts = ['starts_on' => 'date', 'price_cents' => 'integer'];

    public function academy(): BelongsTo
    {
        return $this->belongsTo(Academy::class);
    }

    public function price(): string
    {
        return number_format($this->price_cents / 100, 2)."\u{a0}€";
    }
}
