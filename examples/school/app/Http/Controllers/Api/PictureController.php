<?php

namespace App\Http\Controllers\Api;

use App\Storage\Pictures;
use Illuminate\Http\JsonResponse;
use Illuminate\Http\Request;
use Symfony\Component\HttpFoundation\Response;
use Symfony\Component\HttpFoundation\StreamedResponse;

class PictureController
{
    public function __construct(private readonly Pictures $pictures)
    {
    }

    public function store(Request $request, string $name): JsonResponse
    {
        $this->validate($name);
        $limit = config('school.picture_bytes_max');
        $message = 'A picture may have '.intdiv($limit, 1024 * 1024).' MB at most.';
        abort_if((int) $request->headers->get('Content-Length') > $limit, 413, $message);

        // The body as a stream: PHP keeps it in a temporary file, never whole in memory.
        $body = $request->getContent(true);
        $picture = $this->pictures->store($name, $body, $request->headers->get('Content-Type'), $limit) ?? abort(413, $message);

        return response()->json(['name' => $name, 'size' => $picture->size, 'etag' => $picture->etag], 201)->setEtag($picture->etag);
    }

    /** GET and HEAD. */
    public function show(Request $request, string $name): Response
    {
        $this->validate($name);
        $picture = $this->pictures->find($name) ?? abort(404, "There is no picture $name.");
        $headers = [
            'Content-Type' => $picture->type,
            'Content-Length' => $picture->size,
            'Cache-Control' => 'private, no-cache',
            // Anyone may upload: nothing of it is to run in this site's name.
            'Content-Security-Policy' => "default-src 'none'; style-src 'unsafe-inline'; sandbox",
            'X-Content-Type-Options' => 'nosniff',
        ];
        $response = $request->isMethod('HEAD')
            ? response('', 200, $headers)
            : new StreamedResponse(fn () => fpassthru($this->pictures->open($name)), 200, $headers);
        $response->setEtag($picture->etag);

        if ($response->isNotModified($request)) {
            return response('', 304)->setEtag($picture->etag);
        }

        return $response;
    }

    public function destroy(string $name): Response
    {
        $this->validate($name);
        abort_unless($this->pictures->delete($name), 404, "There is no picture $name.");

        return response()->noContent();
    }

    private function validate(string $name): void
    {
        abort_unless(
            preg_match('/\A[A-Za-z0-9][A-Za-z0-9._-]{0,99}\z/', $name) === 1,
            422,
            'A picture\'s name has up to 100 letters, digits, dots, dashes or underscores and starts with a letter or digit.',
        );
    }
}
