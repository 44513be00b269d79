<?php

namespace App\Http\Controllers\Api;

use App\Models\Course;
use App\Support\Visitor;
use Illuminate\Http\JsonResponse;
use Illuminate\Http\Request;

class BasketController
{
    public function show(Request $request): JsonResponse
    {
        return $this->basket(new Visitor($request->session()));
    }

    public function add(Request $request): JsonResponse
    {
        $input = $request->validate(['course_id' => ['required', 'integer', 'exists:courses,id']]);
        $visitor = new Visitor($request->session());
        $visitor->addToBasket($input['course_id']);

        return $this->basket($visitor);
    }

    private function basket(Visitor $visitor): JsonResponse
    {
        $courses = $visitor->basket();

        return response()->json([
            'name' => $visitor->name(),
            'course_ids' => $courses->pluck('id'),
            'courses' => $courses->map(fn (Course $course) => $course->only('id', 'title', 'price_cents')),
            'total_cents' => $courses->sum('price_cents'),
        ]);
    }
}
