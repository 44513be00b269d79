<?php

namespace App\Http\Controllers\Api;

use App\Support\Database;
use App\Support\Server;
use App\Support\Visitor;
use Illuminate\Http\JsonResponse;
use Illuminate\Http\Request;

class WhoamiController
{
    public function __invoke(Request $request): JsonResponse
    {
        $visitor = new Visitor($request->session());

        return response()->json([
            'server' => Server::name(),
            'release' => Server::release(),
            'session_id_hash' => $visitor->sessionHash(),
            'session_hits' => $visitor->hit(),
            'name' => $visitor->name(),
            'read_server' => Database::readServer(),
            'write_server' => Database::writeServer(),
            'client' => $request->ip(),
            'scheme' => $request->getScheme(),
        ]);
    }
}
