<?php

namespace App\Http\Middleware;

use App\Support\Server;
use Closure;
use Illuminate\Http\Request;
use Symfony\Component\HttpFoundation\Response;

class TellServerAndRelease
{
    public function handle(Request $request, Closure $next): Response
    {
        $response = $next($request);
        $response->headers->set('X-Served-By', Server::name());
        $response->headers->set('X-Release', Server::release());

        return $response;
    }
}
