<?php

namespace App\Support;

/** Which machine and which release this code runs on. */
class Server
{
    public static function name(): string
    {
        return config('fleet.server') ?: gethostname();
    }

    /** Releases live in releases/<id>; elsewhere (a developer's checkout) the folder's name is as good. */
    public static function release(): string
    {
        return config('fleet.release') ?: basename(base_path());
    }
}
