<?php

namespace App\Support;

use App\Models\Course;
use Illuminate\Contracts\Session\Session;
use Illuminate\Support\Collection;

/** What a session remembers about the person behind it. */
class Visitor
{
    public function __construct(private readonly Session $session)
    {
    }

    public function logIn(string $name): void
    {
        $this->session->regenerate(true);
        $this->session->put('name', $name);
    }

    public function name(): ?string
    {
        return $this->session->get('name');
    }

    /** Counts this visit. */
    public function hit(): int
    {
        return $this->session->increment('hits');
    }

    /** The session's id is a secret; this is enough to compare two answers. */
    public function sessionHash(): string
    {
        return substr(hash('sha256', $this->session->getId()), 0, 16);
    }

    public function addToBasket(int $courseId): void
    {
        $this->session->put('basket', array_values(array_unique([...$this->session->get('basket', []), $courseId])));
    }

    /** @return Collection<int, Course> in the order they were put in */
    public function basket(): Collection
    {
        $ids = $this->session->get('basket', []);

        return $ids === [] ? collect() : Course::findMany($ids)->sortBy(fn (Course $course) => array_search($course->id, $ids))->values();
    }
}
