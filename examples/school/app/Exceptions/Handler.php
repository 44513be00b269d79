<?php

namespace App\Exceptions;

use Illuminate\Database\DetectsLostConnections;
use Illuminate\Foundation\Exceptions\Handler as ExceptionHandler;
use Symfony\Component\HttpKernel\Exception\ServiceUnavailableHttpException;
use Throwable;

class Handler extends ExceptionHandler
{
    use DetectsLostConnections;

    public function register(): void
    {
        $this->map(\PDOException::class, fn (\PDOException $e) => $this->isOutage($e)
            ? new ServiceUnavailableHttpException(1, 'The database is not reachable right now. Try again.', $e)
            : $e);
        $this->map(\RedisException::class, fn ($e) => new ServiceUnavailableHttpException(1, 'Redis is not reachable right now. Try again.', $e));
        $this->map(\RedisClusterException::class, fn ($e) => new ServiceUnavailableHttpException(1, 'Redis is not reachable right now. Try again.', $e));
    }

    /** The API speaks JSON, also when it has bad news and whatever the client's Accept header says. */
    protected function shouldReturnJson($request, Throwable $e): bool
    {
        return $request->is('api/*') || parent::shouldReturnJson($request, $e);
    }

    /** A connection that is gone or refused, or a primary that has just been demoted. */
    private function isOutage(\PDOException $e): bool
    {
        return $this->causedByLostConnection($e) || preg_match('/\b(2002|2013|2006|1290|1836|3100)\b|read-only/', $e->getMessage()) === 1;
    }
}
