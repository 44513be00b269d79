<?php

namespace App\Support;

use Illuminate\Support\Facades\DB;

/** Who answers reads and who answers writes. */
class Database
{
    public static function readServer(): string
    {
        return self::identity(true);
    }

    public static function writeServer(): string
    {
        return self::identity(false);
    }

    /** True when the connection for writes really accepts them (a replica that was taken for a primary doesn't). */
    public static function isWritable(): bool
    {
        return DB::getDriverName() !== 'mysql' || ! DB::selectOne('select @@global.read_only as locked', [], false)->locked;
    }

    private static function identity(bool $read): string
    {
        if (DB::getDriverName() !== 'mysql') {
            DB::selectOne('select 1', [], $read);

            return DB::getDriverName();
        }

        // MariaDB has no server_uuid; its server_id serves for a developer's machine.
        $row = DB::selectOne("show variables where Variable_name in ('server_uuid', 'server_id')", [], $read);
        $row = $row->Variable_name === 'server_uuid' ? $row : DB::selectOne("show variables like 'server_uuid'", [], $read) ?? $row;

        return $row->Value;
    }
}
