<?php

namespace App\Http\Controllers\Api;

use App\Models\Course;
use Illuminate\Http\JsonResponse;
use Illuminate\Http\Request;
use Illuminate\Support\Facades\Cache;

class CourseController
{
    private const PER_PAGE = 20;

    public function __invoke(Request $request): JsonResponse
    {
        $input = $request->validate([
            'academy_id' => ['integer', 'min:1'],
            'page' => ['integer', 'min:1', 'max:100000'],
        ]);
        $academy = (int) ($input['academy_id'] ?? 0);
        $page = (int) ($input['page'] ?? 1);

        $seconds = config('school.courses_cache_seconds');
        $response = response()->json(Cache::remember("courses:$academy:$page", $seconds, fn () => $this->page($academy, $page)));

        // Here, not in Laravel's middleware for it: that would have a 503 kept in shared caches as well.
        $response->setPublic()->setMaxAge($seconds)->setEtag(md5($response->getContent()))->isNotModified($request);

        return $response;
    }

    private function page(int $academy, int $page): array
    {
        $courses = Course::with('academy:id,name')
            ->when($academy, fn ($query) => $query->where('academy_id', $academy))
            ->orderBy('id')
            ->paginate(self::PER_PAGE, page: $page);

        return [
            'data' => collect($courses->items())->map(fn (Course $course) => [
                ...$course->only('id', 'academy_id', 'title', 'summary', 'price_cents'),
                'academy' => $course->academy->name,
                'starts_on' => $course->starts_on->toDateString(),
            ])->all(),
            'meta' => [
                'page' => $courses->currentPage(),
                'per_page' => $courses->perPage(),
                'last_page' => $courses->lastPage(),
                'total' => $courses->total(),
            ],
        ];
    }
}
