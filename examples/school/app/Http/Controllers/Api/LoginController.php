<?php

namespace App\Http\Controllers\Api;

use App\Support\Visitor;
use Illuminate\Http\JsonResponse;
use Illuminate\Http\Request;

class LoginController
{
    public function __invoke(Request $request): JsonResponse
    {
        $input = $request->validate(['name' => ['required', 'string', 'max:100']]);
        $visitor = new Visitor($request->session());
        $visitor->logIn($input['name']);

        return response()->json(['name' => $input['name'], 'session_id_hash' => $visitor->sessionHash()]);
    }
}
