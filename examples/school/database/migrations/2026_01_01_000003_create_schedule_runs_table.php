<?php

use Illuminate\Database\Migrations\Migration;
use Illuminate\Database\Schema\Blueprint;
use Illuminate\Support\Facades\Schema;

return new class extends Migration
{
    public function up(): void
    {
        Schema::create('schedule_runs', function (Blueprint $table) {
            $table->id();
            // Not unique on purpose: a second scheduler has to show.
            $table->dateTime('minute')->index();
            $table->string('host');
            $table->string('release');
            $table->dateTime('ran_at', 3);
        });
    }

    public function down(): void
    {
        Schema::dropIfExists('schedule_runs');
    }
};
