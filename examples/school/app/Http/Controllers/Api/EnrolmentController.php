<?php

namespace App\Http\Controllers\Api;

use App\Jobs\ConfirmEnrolment;
use App\Models\Course;
use App\Models\Enrolment;
use Illuminate\Http\JsonResponse;
use Illuminate\Http\Request;

class EnrolmentController
{
    /**
     * The client chooses the key and may send it as often as it likes, also after an answer got lost: there is one
     * enrolment, with one id. The job is safe to run twice, so a repeat also makes up for one that was never queued.
     */
    public function store(Request $request): JsonResponse
    {
        $input = $request->validate([
            'course_id' => ['required', 'integer'],
            'student' => ['required', 'string', 'max:200'],
            'key' => ['required', 'string', 'max:100'],
        ]);
        $course = Course::find($input['course_id']) ?? abort(422, "There is no course {$input['course_id']}.");
        $enrolment = Enrolment::onceByKey($input['key'], [
            'academy_id' => $course->academy_id,
            'course_id' => $course->id,
            'student' => $input['student'],
        ]);

        if ($enrolment->confirmed_at === null) {
            ConfirmEnrolment::dispatch($enrolment->id);
        }

        return response()->json(['id' => $enrolment->id], 201, ['Location' => "/api/enrolments/{$enrolment->id}"]);
    }

    /** From whichever server answers reads; `?consistent=1` asks the one that takes the writes. */
    public function show(Request $request, int $id): JsonResponse
    {
        $query = $request->boolean('consistent') ? Enrolment::onWriteConnection() : Enrolment::query();
        $enrolment = $query->find($id) ?? abort(404, "There is no enrolment $id here (yet).");

        return response()->json($enrolment, 200, ['Cache-Control' => 'no-store']);
    }
}
