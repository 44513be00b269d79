<?php

use Illuminate\Contracts\Http\Kernel;
use Illuminate\Http\Request;

define('LARAVEL_START', microtime(true));

if (file_exists($maintenance = __DIR__.'/../storage/framework/maintenance.php')) {
    require $maintenance;
}

require __DIR__.'/../vendor/autoload.php';

$app = require_once __DIR__.'/../bootstrap/app.php';
$kernel = $app->make(Kernel::class);

// A raw upload is not a form, whatever its sender's tool calls it: as a form, PHP would parse it in memory.
if (preg_match('#^/api/pictures/#', $_SERVER['REQUEST_URI'] ?? '')) {
    $_SERVER['CONTENT_TYPE'] = $_SERVER['HTTP_CONTENT_TYPE'] = 'application/octet-stream';
}

$request = Request::capture();
$response = $kernel->handle($request)->send();
$kernel->terminate($request, $response);
