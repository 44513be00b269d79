<?php

namespace App\Storage;

use AsyncAws\Core\Request;
use AsyncAws\Core\Signer\SignerV4;
use AsyncAws\Core\Signer\SigningContext;

/** S3's dialect of signature version 4: paths are encoded once, and the caller has already hashed the body. */
class S3Signer extends SignerV4
{
    protected function buildBodyDigest(Request $request, bool $isPresign): string
    {
        return $request->getHeader('x-amz-content-sha256');
    }

    protected function convertBodyToStream(SigningContext $context): void
    {
    }

    protected function buildCanonicalPath(Request $request): string
    {
        return $request->getUri();
    }
}
