<?php

use App\Http\Controllers\HealthController;
use Illuminate\Support\Facades\Route;

Route::get('/up', [HealthController::class, 'shallow']);
Route::get('/api/health', [HealthController::class, 'deep']);
