<!DOCTYPE html>
<html lang="en">
<head>
    <meta charset="utf-8">
    <meta name="viewport" content="width=device-width, initial-scale=1">
    <meta name="color-scheme" content="light dark">
    <title>Graphic School</title>
    <link rel="icon" href="/favicon.svg" type="image/svg+xml">
    <link rel="stylesheet" href="/school.css">
    <script src="/school.js" defer></script>
</head>
<body>
<header>
    <h1>Graphic School</h1>
    <p>Answered by <strong id="served-by" data-testid="served-by">{{ $server }}</strong>,
        release <code id="release" data-testid="release">{{ $release }}</code>.
        <a href="/" data-testid="reload">Ask again</a></p>
</header>

<main>
    <section aria-labelledby="visitor-title">
        <h2 id="visitor-title">You</h2>
        @if ($name)
            <p>Hello, <strong id="user-name" data-testid="user-name">{{ $name }}</strong>.</p>
        @else
            <form method="post" action="/login" id="login-form" data-testid="login-form">
                @csrf
                <label for="login-name">Your name</label>
                <input id="login-name" data-testid="login-name" name="name" required maxlength="100" autocomplete="name">
                <button id="login-button" data-testid="login-button">Log in</button>
            </form>
        @endif
        @foreach ($errors->all() as $message)
            <p class="bad" role="alert">{{ $message }}</p>
        @endforeach
        <dl>
            <dt>Session</dt>
            <dd><code id="session-id" data-testid="session-id">{{ $sessionHash }}</code>, visit
                <span id="session-hits" data-testid="session-hits">{{ $sessionHits }}</span></dd>
        </dl>
        <h3>Basket (<span id="basket-count" data-testid="basket-count">{{ count($basket) }}</span>)</h3>
        <ul id="basket" data-testid="basket">
            @forelse ($basket as $course)
                <li data-testid="basket-item" data-course-id="{{ $course->id }}">{{ $course->title }} · {{ $course->price() }}</li>
            @empty
                <li class="quiet">Nothing yet.</li>
            @endforelse
        </ul>
    </section>

    <section aria-labelledby="fleet-title">
        <h2 id="fleet-title">Behind this page</h2>
        <dl>
            <dt>Cache</dt>
            <dd id="cache" data-testid="cache">{{ $cache }}</dd>
            <dt>Database for reads</dt>
            <dd><code id="read-server" data-testid="read-server">{{ $readServer }}</code></dd>
            <dt>Database for writes</dt>
            <dd><code id="write-server" data-testid="write-server">{{ $writeServer }}</code></dd>
        </dl>
        <table id="queues" data-testid="queues">
            <caption>Queues</caption>
            <thead><tr><th scope="col">Queue</th><th scope="col">Waiting</th><th scope="col">Oldest</th></tr></thead>
            <tbody>
            @forelse ($queues as $queue => $state)
                <tr data-queue="{{ $queue }}">
                    <th scope="row">{{ $queue }}</th>
                    <td data-testid="queue-{{ $queue }}" data-field="length">{{ $state['length'] }}</td>
                    <td data-field="oldest">{{ $state['oldest_seconds'] === null ? '–' : round($state['oldest_seconds']).' s' }}</td>
                </tr>
            @empty
                <tr><td colspan="3" class="bad">not reachable</td></tr>
            @endforelse
            </tbody>
        </table>
    </section>

    <section aria-labelledby="picture-title">
        <h2 id="picture-title">Picture</h2>
        @if ($picture)
            <img id="picture" data-testid="picture" src="/api/pictures/welcome.svg" width="320" height="180" alt="The school's picture, from the object storage">
        @else
            <p id="picture" data-testid="picture" class="quiet">None stored yet: the scheduler brings it within a minute.</p>
        @endif
        <form id="picture-form" data-testid="picture-form" hidden>
            <label for="picture-file">Store another</label>
            <input type="file" id="picture-file" data-testid="picture-file" accept="image/*" required>
            <button>Upload</button>
            <output id="picture-result" data-testid="picture-result"></output>
        </form>
    </section>

    <section aria-labelledby="courses-title" class="wide">
        <h2 id="courses-title">Courses</h2>
        <ul id="courses" data-testid="courses" class="courses">
            @forelse ($courses as $course)
                <li data-testid="course" data-course-id="{{ $course->id }}">
                    <h3>{{ $course->title }}</h3>
                    <p>{{ $course->summary }}</p>
                    <p>{{ $course->starts_on->format('j F Y') }} · {{ $course->price() }}</p>
                    <form method="post" action="/basket">
                        @csrf
                        <input type="hidden" name="course_id" value="{{ $course->id }}">
                        <button id="basket-add-{{ $course->id }}" data-testid="basket-add-{{ $course->id }}">Put in basket</button>
                    </form>
                </li>
            @empty
                <li class="bad">The courses are not reachable.</li>
            @endforelse
        </ul>
    </section>
</main>
</body>
</html>
