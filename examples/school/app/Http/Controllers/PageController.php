<?php

namespace App\Http\Controllers;

use App\Models\Course;
use App\Storage\Pictures;
use App\Support\Database;
use App\Support\Queues;
use App\Support\Server;
use App\Support\Visitor;
use Illuminate\Contracts\View\View;
use Illuminate\Http\RedirectResponse;
use Illuminate\Http\Request;
use Illuminate\Support\Facades\Cache;

/** One page that shows who does the work. It stays readable when a part behind it fails: that part says so. */
class PageController
{
    private const FAILED = 'not reachable';

    public function show(Request $request, Pictures $pictures): View
    {
        $visitor = new Visitor($request->session());

        return view('page', [
            'server' => Server::name(),
            'release' => Server::release(),
            'sessionHash' => $visitor->sessionHash(),
            'sessionHits' => $visitor->hit(),
            'name' => $visitor->name(),
            'cache' => $this->attempt(fn () => $this->cache()),
            'readServer' => $this->attempt(fn () => Database::readServer()),
            'writeServer' => $this->attempt(fn () => Database::writeServer()),
            'queues' => $this->attempt(fn () => Queues::state(), []),
            'picture' => $this->attempt(fn () => $pictures->find('welcome.svg'), null),
            'courses' => $this->attempt(fn () => Course::with('academy')->orderBy('id')->limit(8)->get(), collect()),
            'basket' => $this->attempt(fn () => $visitor->basket(), collect()),
        ]);
    }

    public function login(Request $request): RedirectResponse
    {
        $input = $request->validate(['name' => ['required', 'string', 'max:100']]);
        (new Visitor($request->session()))->logIn($input['name']);

        return redirect()->route('page');
    }

    public function addToBasket(Request $request): RedirectResponse
    {
        $input = $request->validate(['course_id' => ['required', 'integer', 'exists:courses,id']]);
        (new Visitor($request->session()))->addToBasket((int) $input['course_id']);

        return redirect()->route('page');
    }

    /** Shows a value that some earlier request left, and leaves one for the next, whichever server that reaches. */
    private function cache(): string
    {
        $left = Cache::get('page:last');
        Cache::put('page:last', ['server' => Server::name(), 'time' => now()->format('H:i:s')], 600);

        return $left ? "kept since {$left['time']} by {$left['server']}" : 'empty until now';
    }

    private function attempt(callable $part, mixed $otherwise = self::FAILED): mixed
    {
        return rescue($part, $otherwise);
    }
}
