'use strict';

// The page is complete without this file. It keeps the queue lengths fresh and sends pictures as raw bodies.

const queues = document.getElementById('queues');

async function refreshQueues() {
    const answer = await fetch('/api/queues', {headers: {Accept: 'application/json'}});

    if (!answer.ok) {
        return;
    }

    const {queues: states} = await answer.json();

    for (const row of queues.querySelectorAll('[data-queue]')) {
        const state = states[row.dataset.queue];

        if (state) {
            row.querySelector('[data-field=length]').textContent = state.length;
            row.querySelector('[data-field=oldest]').textContent =
                state.oldest_seconds === null ? '–' : `${Math.round(state.oldest_seconds)} s`;
        }
    }
}

setInterval(() => {
    if (!document.hidden) {
        refreshQueues().catch(() => {});
    }
}, 3000);

const pictureForm = document.getElementById('picture-form');
pictureForm.hidden = false; // it can't do anything without this script

pictureForm.addEventListener('submit', async (event) => {
    event.preventDefault();
    const file = document.getElementById('picture-file').files[0];
    const result = document.getElementById('picture-result');
    const name = file.name.replace(/[^A-Za-z0-9._-]/g, '-').replace(/^[^A-Za-z0-9]+/, '').slice(-100) || 'picture';

    try {
        const answer = await fetch(`/api/pictures/${name}`, {
            method: 'PUT',
            body: file,
            headers: {'Content-Type': file.type || 'application/octet-stream'},
        });
        const body = await answer.json();
        result.textContent = answer.ok ? `Stored ${body.name}, ${body.size} bytes.` : body.message;

        if (answer.ok) {
            const picture = document.getElementById('picture');

            if (picture.tagName === 'IMG') {
                picture.src = `/api/pictures/${name}?etag=${body.etag}`;
            }
        }
    } catch {
        result.textContent = 'The school could not be reached.';
    }
});
