<?php

namespace App\Storage;

use AsyncAws\Core\Credentials\Credentials;
use AsyncAws\Core\Request;
use AsyncAws\Core\RequestContext;
use AsyncAws\Core\Stream\StringStream;
use Symfony\Component\HttpClient\HttpClient;
use Symfony\Contracts\HttpClient\HttpClientInterface;
use Symfony\Contracts\HttpClient\ResponseInterface;

/** Signed requests to one bucket. Knows nothing about files; S3Adapter does. */
class S3Client
{
    private const EMPTY_SHA256 = 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855';

    public function __construct(
        private readonly HttpClientInterface $http,
        private readonly Credentials $credentials,
        private readonly string $region,
        private readonly string $base,
        private readonly string $bucket,
        private readonly string $prefix,
    ) {
    }

    /** @param array<string, mixed> $disk a disk as config/filesystems.php describes it */
    public static function fromDisk(array $disk): self
    {
        $region = $disk['region'] ?: 'us-east-1';
        $endpoint = rtrim($disk['endpoint'] ?: "https://s3.$region.amazonaws.com", '/');
        $pathStyle = (bool) ($disk['use_path_style_endpoint'] ?? false);

        return new self(
            // Seconds without a byte in either direction; a transfer as a whole may take as long as it needs.
            HttpClient::create(['timeout' => 10]),
            new Credentials($disk['key'], $disk['secret'], $disk['token'] ?? null),
            $region,
            $pathStyle ? "$endpoint/{$disk['bucket']}" : preg_replace('#^(https?://)#', "$1{$disk['bucket']}.", $endpoint),
            $disk['bucket'],
            trim($disk['root'] ?? '', '/'),
        );
    }

    /**
     * @param string $key the object's name, '' for the bucket itself
     * @param array<string, string> $query
     * @param array<string, string> $headers
     * @param resource|string $body a resource has to be seekable: it is read once to sign and once to send
     */
    public function request(string $method, string $key, array $query = [], array $headers = [], $body = ''): ResponseInterface
    {
        $request = new Request($method, '', [], $headers, StringStream::create(''));
        $path = $this->encode($key === '' ? '' : $this->fullKey($key));
        $request->setEndpoint($this->base.'/'.$path.($query ? '?'.http_build_query($query, '', '&', PHP_QUERY_RFC3986) : ''));
        $options = [];

        if (is_resource($body)) {
            rewind($body);
            $hash = hash_init('sha256');
            $length = hash_update_stream($hash, $body);
            rewind($body);
            $request->setHeader('x-amz-content-sha256', hash_final($hash));
            $request->setHeader('content-length', (string) $length);
            $options['body'] = $length > 0 ? $body : '';
        } else {
            $request->setHeader('x-amz-content-sha256', $body === '' ? self::EMPTY_SHA256 : hash('sha256', $body));
            $options['body'] = $body;

            if ($method === 'PUT') {
                $request->setHeader('content-length', (string) strlen($body));
            }
        }

        (new S3Signer('s3', $this->region))->sign($request, $this->credentials, new RequestContext);
        $options['headers'] = $request->getHeaders();
        // An answer is used up as it comes in, not collected first.
        $options['buffer'] = $method !== 'GET' || $key === '';

        return $this->http->request($method, $request->getEndpoint(), $options);
    }

    public function copySource(string $key): string
    {
        return $this->encode("{$this->bucket}/".$this->fullKey($key));
    }

    public function fullKey(string $key): string
    {
        return $this->prefix === '' ? $key : "{$this->prefix}/$key";
    }

    public function relativeKey(string $key): string
    {
        return $this->prefix === '' ? $key : substr($key, strlen($this->prefix) + 1);
    }

    private function encode(string $path): string
    {
        return implode('/', array_map(rawurlencode(...), explode('/', $path)));
    }
}
