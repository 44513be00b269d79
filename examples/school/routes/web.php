<?php

use App\Http\Controllers\PageController;
use Illuminate\Support\Facades\Route;

Route::get('/', [PageController::class, 'show'])->name('page');
Route::post('/login', [PageController::class, 'login'])->name('login');
Route::post('/basket', [PageController::class, 'addToBasket'])->name('basket')->block(10, 10);
