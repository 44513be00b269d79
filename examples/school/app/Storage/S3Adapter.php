<?php

namespace App\Storage;

use Generator;
use League\Flysystem\ChecksumAlgoIsNotSupported;
use League\Flysystem\ChecksumProvider;
use League\Flysystem\Config;
use League\Flysystem\DirectoryAttributes;
use League\Flysystem\FileAttributes;
use League\Flysystem\FilesystemAdapter;
use League\Flysystem\UnableToCheckFileExistence;
use League\Flysystem\UnableToCopyFile;
use League\Flysystem\UnableToDeleteFile;
use League\Flysystem\UnableToListContents;
use League\Flysystem\UnableToMoveFile;
use League\Flysystem\UnableToReadFile;
use League\Flysystem\UnableToRetrieveMetadata;
use League\Flysystem\UnableToSetVisibility;
use League\Flysystem\UnableToWriteFile;
use League\Flysystem\Visibility;
use RuntimeException;
use SimpleXMLElement;
use Symfony\Component\HttpClient\Response\StreamWrapper;
use Symfony\Contracts\HttpClient\ResponseInterface;
use Throwable;

/** A Flysystem disk in an S3 bucket. Objects are private: access goes through the application. */
class S3Adapter implements ChecksumProvider, FilesystemAdapter
{
    public function __construct(private readonly S3Client $client)
    {
    }

    /** @return ?array{size: int, etag: string, type: string, modified: int} null when there is no such object */
    public function stat(string $path): ?array
    {
        $response = $this->client->request('HEAD', $path);

        if ($response->getStatusCode() === 404) {
            return null;
        }

        $headers = $this->expect($response, 200)->getHeaders(false);

        return [
            'size' => (int) ($headers['content-length'][0] ?? 0),
            'etag' => trim($headers['etag'][0] ?? '', '"'),
            'type' => $headers['content-type'][0] ?? 'application/octet-stream',
            'modified' => strtotime($headers['last-modified'][0] ?? '') ?: 0,
        ];
    }

    public function fileExists(string $path): bool
    {
        try {
            return $this->stat($path) !== null;
        } catch (Throwable $e) {
            throw UnableToCheckFileExistence::forLocation($path, $e);
        }
    }

    /** Folders are only prefixes of names, so there is one as soon as something lies in it; '' is the bucket. */
    public function directoryExists(string $path): bool
    {
        if ($path === '') {
            $response = $this->client->request('HEAD', '');

            return $response->getStatusCode() !== 404 && $this->expect($response, 200) !== null;
        }

        foreach ($this->listContents($path, false) as $_) {
            return true;
        }

        return false;
    }

    public function write(string $path, string $contents, Config $config): void
    {
        $this->put($path, $contents, $config);
    }

    public function writeStream(string $path, $contents, Config $config): void
    {
        if (stream_get_meta_data($contents)['seekable']) {
            $this->put($path, $contents, $config);

            return;
        }

        // Signing reads the body before it is sent: what can't be rewound goes through a file, not through memory.
        $file = tmpfile();
        stream_copy_to_stream($contents, $file);
        $this->put($path, $file, $config);
        fclose($file);
    }

    public function read(string $path): string
    {
        $content = stream_get_contents($this->readStream($path));

        return $content === false ? throw UnableToReadFile::fromLocation($path) : $content;
    }

    public function readStream(string $path)
    {
        try {
            return StreamWrapper::createResource($this->expect($this->client->request('GET', $path), 200));
        } catch (Throwable $e) {
            throw UnableToReadFile::fromLocation($path, $e->getMessage(), $e);
        }
    }

    public function delete(string $path): void
    {
        try {
            $this->expect($this->client->request('DELETE', $path), 204, 200, 404);
        } catch (Throwable $e) {
            throw UnableToDeleteFile::atLocation($path, $e->getMessage(), $e);
        }
    }

    public function deleteDirectory(string $path): void
    {
        foreach ($this->listContents($path, true) as $item) {
            $this->delete($item->path());
        }
    }

    public function createDirectory(string $path, Config $config): void
    {
    }

    public function setVisibility(string $path, string $visibility): void
    {
        if ($visibility !== Visibility::PRIVATE) {
            throw UnableToSetVisibility::atLocation($path, 'objects of this disk are private');
        }
    }

    public function visibility(string $path): FileAttributes
    {
        return new FileAttributes($path, null, Visibility::PRIVATE);
    }

    public function mimeType(string $path): FileAttributes
    {
        return $this->attributes($path, FileAttributes::ATTRIBUTE_MIME_TYPE);
    }

    public function lastModified(string $path): FileAttributes
    {
        return $this->attributes($path, FileAttributes::ATTRIBUTE_LAST_MODIFIED);
    }

    public function fileSize(string $path): FileAttributes
    {
        return $this->attributes($path, FileAttributes::ATTRIBUTE_FILE_SIZE);
    }

    public function checksum(string $path, Config $config): string
    {
        if ($config->get('checksum_algo', 'etag') !== 'etag') {
            throw new ChecksumAlgoIsNotSupported;
        }

        return $this->stat($path)['etag'] ?? throw UnableToReadFile::fromLocation($path, 'there is no such object');
    }

    /** @return Generator<FileAttributes|DirectoryAttributes> */
    public function listContents(string $path, bool $deep): iterable
    {
        $prefix = $this->client->fullKey($path === '' ? '' : rtrim($path, '/').'/');
        $query = ['list-type' => '2', 'prefix' => $prefix] + ($deep ? [] : ['delimiter' => '/']);
        ksort($query);

        do {
            try {
                $page = new SimpleXMLElement($this->expect($this->client->request('GET', '', $query), 200)->getContent(false));
            } catch (Throwable $e) {
                throw UnableToListContents::atLocation($path, $deep, $e);
            }

            foreach ($page->Contents as $object) {
                yield new FileAttributes(
                    $this->client->relativeKey((string) $object->Key),
                    (int) $object->Size,
                    Visibility::PRIVATE,
                    strtotime((string) $object->LastModified) ?: null,
                    null,
                    ['ETag' => trim((string) $object->ETag, '"')],
                );
            }

            foreach ($page->CommonPrefixes as $folder) {
                yield new DirectoryAttributes(rtrim($this->client->relativeKey((string) $folder->Prefix), '/'));
            }

            $query['continuation-token'] = (string) $page->NextContinuationToken;
            ksort($query);
        } while ((string) $page->IsTruncated === 'true');
    }

    public function move(string $source, string $destination, Config $config): void
    {
        try {
            $this->copy($source, $destination, $config);
            $this->delete($source);
        } catch (Throwable $e) {
            throw UnableToMoveFile::fromLocationTo($source, $destination, $e);
        }
    }

    public function copy(string $source, string $destination, Config $config): void
    {
        try {
            $this->expect($this->client->request('PUT', $destination, [], ['x-amz-copy-source' => $this->client->copySource($source)]), 200);
        } catch (Throwable $e) {
            throw UnableToCopyFile::fromLocationTo($source, $destination, $e);
        }
    }

    /** @param resource|string $contents */
    private function put(string $path, $contents, Config $config): void
    {
        try {
            $type = $config->get('ContentType') ?? $config->get('mimetype') ?? 'application/octet-stream';
            $this->expect($this->client->request('PUT', $path, [], ['content-type' => $type], $contents), 200, 201);
        } catch (Throwable $e) {
            throw UnableToWriteFile::atLocation($path, $e->getMessage(), $e);
        }
    }

    private function attributes(string $path, string $wanted): FileAttributes
    {
        try {
            $stat = $this->stat($path) ?? throw new RuntimeException('there is no such object');
        } catch (Throwable $e) {
            throw UnableToRetrieveMetadata::create($path, $wanted, $e->getMessage(), $e);
        }

        return new FileAttributes($path, $stat['size'], Visibility::PRIVATE, $stat['modified'], $stat['type']);
    }

    private function expect(ResponseInterface $response, int ...$statuses): ResponseInterface
    {
        if (in_array($response->getStatusCode(), $statuses, true)) {
            return $response;
        }

        preg_match('#<Code>(\w+)</Code>#', $response->getInfo('http_method') === 'HEAD' ? '' : $this->text($response), $code);

        throw new RuntimeException("S3 answered {$response->getStatusCode()} ".($code[1] ?? ''));
    }

    private function text(ResponseInterface $response): string
    {
        $stream = StreamWrapper::createResource($response);

        return (string) stream_get_contents($stream, 4096);
    }
}
