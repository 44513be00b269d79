<?php

use Illuminate\Database\Migrations\Migration;
use Illuminate\Database\Schema\Blueprint;
use Illuminate\Support\Facades\Schema;

return new class extends Migration
{
    public function up(): void
    {
        Schema::create('work_items', function (Blueprint $table) {
            $table->id();
            $table->string('key', 100)->unique();
            $table->string('queue', 50);
            $table->decimal('seconds', 8, 3);
            $table->boolean('fail')->default(false);
            $table->string('state', 10)->index();
            $table->string('worker')->nullable();
            $table->unsignedInteger('attempts')->default(0);
            $table->string('error', 500)->nullable();
            $table->dateTime('queued_at', 3);
            $table->dateTime('dispatched_at', 3)->nullable();
            $table->dateTime('started_at', 3)->nullable();
            $table->dateTime('finished_at', 3)->nullable();
        });
    }

    public function down(): void
    {
        Schema::dropIfExists('work_items');
    }
};
