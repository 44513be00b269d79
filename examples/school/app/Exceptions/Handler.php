<?php

namespace App\Exceptions;

use Illuminate\Database\DetectsLostConnections;
use Illuminate\Foundation\Exceptions\Handler as ExceptionHandler;
use PDOException;
use RedisClusterException;
use RedisException;
use Symfony\Component\HttpKernel\Exception\ServiceUnavailableHttpException;
use Throwable;

class Handler extends ExceptionHandler
{
    use DetectsLostConnections;

    /** What will pass is told as such; the log gets the exception itself. */
    public function render($request, Throwable $e)
    {
        $message = match (true) {
            $e instanceof PDOException && $this->willPass($e) => 'The database is not reachable right now. Try again.',
            $e instanceof RedisException, $e instanceof RedisClusterException => 'Redis is not reachable right now. Try again.',
            default => null,
        };

        return parent::render($request, $message === null ? $e : new ServiceUnavailableHttpException(1, $message, $e));
    }

    /** The API speaks JSON, also when it has bad news and whatever the client's Accept header says. */
    protected function shouldReturnJson($request, Throwable $e): bool
    {
        return $request->is('api/*') || parent::shouldReturnJson($request, $e);
    }

    /** A connection that is gone or refused, or a primary that has just been demoted (errors 1290, 1836, 3100). */
    private function willPass(PDOException $e): bool
    {
        return $this->causedByLostConnection($e)
            || preg_match('/\[(2002|2006|2013)\]|: (1290|1836|2002|2006|2013|3100) /', $e->getMessage()) === 1;
    }
}
