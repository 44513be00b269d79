<?php

use App\Http\Controllers\Api;
use Illuminate\Support\Facades\Route;

Route::middleware('session')->group(function () {
    Route::get('whoami', Api\WhoamiController::class);
    Route::post('login', Api\LoginController::class);
    Route::get('basket', [Api\BasketController::class, 'show']);
    // Two requests of one session at a time would each write back what they read: the second one waits.
    Route::post('basket', [Api\BasketController::class, 'add'])->block(10, 10);
});

Route::get('courses', Api\CourseController::class);

Route::post('enrolments', [Api\EnrolmentController::class, 'store']);
Route::get('enrolments/{id}', [Api\EnrolmentController::class, 'show'])->whereNumber('id');

Route::post('jobs', [Api\JobController::class, 'store']);
Route::get('jobs/{id}', [Api\JobController::class, 'show'])->whereNumber('id');

Route::match(['get', 'post'], 'slow', Api\SlowController::class);
Route::get('queues', Api\QueueController::class);
Route::get('schedule', Api\ScheduleController::class);

Route::controller(Api\PictureController::class)->prefix('pictures/{name}')->group(function () {
    Route::put('', 'store');
    Route::get('', 'show');
    Route::delete('', 'destroy');
});
