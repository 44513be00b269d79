<?php

use App\Models\Academy;
use App\Models\Course;
use Illuminate\Database\Migrations\Migration;

/** The demo's academies and courses. A migration, so that `php artisan migrate` alone makes a school one can look at. */
return new class extends Migration
{
    private const ACADEMIES = [
        'Academy of Letters' => 'Lisbon',
        'House of Colour' => 'Antwerp',
        'Moving Image School' => 'Turin',
        'Type & Print Workshop' => 'Leipzig',
    ];

    private const SUBJECTS = [
        'Lettering', 'Typography', 'Screen printing', 'Bookbinding', 'Illustration',
        'Colour theory', 'Life drawing', 'Animation', 'Photography', 'Web design',
    ];

    private const LEVELS = ['for beginners', 'in practice', 'for professionals'];

    public function up(): void
    {
        foreach (self::ACADEMIES as $name => $city) {
            $academy = Academy::firstOrCreate(['name' => $name], ['city' => $city]);

            foreach (self::SUBJECTS as $number => $subject) {
                foreach (self::LEVELS as $level => $words) {
                    Course::firstOrCreate(['academy_id' => $academy->id, 'title' => "$subject $words"], [
                        'summary' => "$subject $words: ".(4 + 2 * $level)." evenings at $name in $city.",
                        'price_cents' => 9000 + 1500 * $number + 8000 * $level,
                        'starts_on' => sprintf('2027-%02d-%02d', 1 + $number, 5 + 7 * $level),
                    ]);
                }
            }
        }
    }

    public function down(): void
    {
        Course::query()->delete();
        Academy::query()->delete();
    }
};
