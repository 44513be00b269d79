<?php

namespace App\Console\Commands;

use App\Storage\Pictures;
use Illuminate\Console\Command;

class Welcome extends Command
{
    protected $signature = 'school:welcome';

    protected $description = 'Store the picture of the start page where pictures are kept, unless there is one';

    public function handle(Pictures $pictures): int
    {
        if ($pictures->find('welcome.svg') === null) {
            $picture = fopen(resource_path('pictures/welcome.svg'), 'rb');
            $pictures->store('welcome.svg', $picture, 'image/svg+xml');
        }

        return self::SUCCESS;
    }
}
