<?php

/* Asked over FastCGI only (it lies outside every web root): how much room OPcache has left. */

header('Content-Type: application/json');
echo json_encode(function_exists('opcache_get_status') ? opcache_get_status(false) : false);
