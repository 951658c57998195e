"""What does `balise-agent check` say of each finding, and what is to be done about it?

One table: code -> (English, French), each a sentence and what to do ("" where there is nothing to do).
"""

from __future__ import annotations

from typing import Literal

Lang = Literal["en", "fr"]
Text = tuple[str, str]

TEXTS: dict[str, dict[Lang, Text]] = {
    "config_ok": {
        "en": ("The configuration is valid.", ""),
        "fr": ("La configuration est valide.", ""),
    },
    "config_fault": {
        "en": ("The configuration cannot be used:\n{faults}", "Correct these lines of {path}."),
        "fr": ("La configuration est inutilisable :\n{faults}", "Corriger ces lignes de {path}."),
    },
    "config_open": {
        "en": ("The configuration holds a password and others may read it.", "chmod 600 {path}"),
        "fr": ("La configuration contient un mot de passe et d'autres peuvent la lire.", "chmod 600 {path}"),
    },
    "credentials_ok": {
        "en": ("This is probe {probe}; its credentials can be read.", ""),
        "fr": ("Cette sonde est {probe} ; ses identifiants sont lisibles.", ""),
    },
    "credentials_fault": {
        "en": ("The credentials cannot be used: {why}", "Correct this file or its path in the configuration."),
        "fr": (
            "Les identifiants sont inutilisables : {why}",
            "Corriger ce fichier ou son chemin dans la configuration.",
        ),
    },
    "clock_ok": {
        "en": ("The clock is synchronised.", ""),
        "fr": ("L'horloge est synchronisée.", ""),
    },
    "clock_off": {
        "en": (
            "The clock is not synchronised: measurements are kept, but not sent before their date is known.",
            "Start a time service (systemd-timesyncd, chrony) and let it reach its servers (UDP 123).",
        ),
        "fr": (
            "L'horloge n'est pas synchronisée : les mesures sont gardées, mais envoyées seulement une fois datées.",
            "Démarrer un service de temps (systemd-timesyncd, chrony) et lui ouvrir ses serveurs (UDP 123).",
        ),
    },
    "clock_unknown": {
        "en": ("Whether the clock is synchronised cannot be told here.", "See timedatectl."),
        "fr": ("Impossible de savoir ici si l'horloge est synchronisée.", "Voir timedatectl."),
    },
    "network_ok": {
        "en": ("The broker answers at {host}, port {port}.", ""),
        "fr": ("Le serveur de messages répond : {host}, port {port}.", ""),
    },
    "network_unresolved": {
        "en": ("The name {host} has no address: {why}", "Check the name, and the line's DNS."),
        "fr": ("Le nom {host} n'a pas d'adresse : {why}", "Vérifier le nom, et le DNS de la ligne."),
    },
    "network_fault": {
        "en": ("No connection to {host}, port {port}: {why}", "Check the line, the port, and the broker."),
        "fr": ("Pas de connexion à {host}, port {port} : {why}", "Vérifier la ligne, le port et le serveur."),
    },
    "not_reached": {
        "en": ("Not looked at: an earlier step failed.", ""),
        "fr": ("Non vérifié : une étape précédente a échoué.", ""),
    },
    "tls_ok": {
        "en": ("The broker's certificate is right, for {days} more days.", ""),
        "fr": ("Le certificat du serveur est bon, pour {days} jours encore.", ""),
    },
    "tls_off": {
        "en": (
            "The connection is not encrypted (broker.tls = false).",
            "Use TLS on any network but this machine's own.",
        ),
        "fr": ("La connexion n'est pas chiffrée (broker.tls = false).", "Utiliser TLS hors de cette machine."),
    },
    "tls_soon": {
        "en": ("The broker's certificate ends in {days} days.", "Tell the operator of the broker."),
        "fr": ("Le certificat du serveur expire dans {days} jours.", "Prévenir l'exploitant du serveur."),
    },
    "tls_files": {
        "en": ("A certificate or key file cannot be used: {why}", "Check broker.ca_file, cert_file and key_file."),
        "fr": (
            "Un fichier de certificat ou de clé est inutilisable : {why}",
            "Vérifier broker.ca_file, cert_file, key_file.",
        ),
    },
    "tls_name": {
        "en": (
            "The broker's certificate is not for the name {host}.",
            "Check broker.host, or the certificate's names.",
        ),
        "fr": ("Le certificat du serveur n'est pas au nom {host}.", "Vérifier broker.host, ou les noms du certificat."),
    },
    "tls_chain": {
        "en": ("No authority known here signed the broker's certificate: {why}", "Check broker.ca_file."),
        "fr": ("Aucune autorité connue ici n'a signé le certificat du serveur : {why}", "Vérifier broker.ca_file."),
    },
    "tls_dates": {
        "en": (
            "The broker's certificate is not valid today: {why}",
            "Check this clock first, then the certificate's dates.",
        ),
        "fr": (
            "Le certificat du serveur n'est pas valable aujourd'hui : {why}",
            "Vérifier d'abord l'horloge, puis ses dates.",
        ),
    },
    "tls_fault": {
        "en": ("The encrypted connection failed: {why}", "Check that the broker speaks TLS on this port."),
        "fr": ("La connexion chiffrée a échoué : {why}", "Vérifier que le serveur parle TLS sur ce port."),
    },
    "mqtt_ok": {
        "en": ("The broker accepts this probe.", ""),
        "fr": ("Le serveur de messages accepte cette sonde.", ""),
    },
    "mqtt_refused": {
        "en": (
            "The broker refuses this probe: {why}",
            "Check user name and password, and that the probe is registered.",
        ),
        "fr": (
            "Le serveur refuse cette sonde : {why}",
            "Vérifier nom et mot de passe, et l'enregistrement de la sonde.",
        ),
    },
    "mqtt_running": {
        "en": (
            "Not looked at: the agent is running, and a second session would end its own.",
            "Its log says whether it is connected. To try the credentials, stop it first.",
        ),
        "fr": (
            "Non vérifié : l'agent tourne, et une seconde session mettrait fin à la sienne.",
            "Son journal dit s'il est connecté. Pour essayer les identifiants, l'arrêter d'abord.",
        ),
    },
    "mqtt_silent": {
        "en": ("The broker did not answer as MQTT: {why}", "Check the port, and that it is an MQTT v5 broker."),
        "fr": ("Le serveur n'a pas répondu en MQTT : {why}", "Vérifier le port, et que c'est un serveur MQTT v5."),
    },
    "ping_ok": {
        "en": ("Ping sockets can be opened.", ""),
        "fr": ("Les sockets de ping peuvent être ouverts.", ""),
    },
    "ping_refused": {
        "en": (
            "Ping sockets are refused ({why}); ping_group_range is {range}.",
            'sysctl -w net.ipv4.ping_group_range="0 2147483647"',
        ),
        "fr": (
            "Les sockets de ping sont refusés ({why}) ; ping_group_range vaut {range}.",
            'sysctl -w net.ipv4.ping_group_range="0 2147483647"',
        ),
    },
    "state_ok": {
        "en": ("{path} takes writes and syncs them; {free_mb} MB are free.", ""),
        "fr": ("{path} accepte les écritures et les synchronise ; {free_mb} Mo libres.", ""),
    },
    "state_low": {
        "en": ("{path} has {free_mb} MB free; the buffer may grow to {need_mb} MB.", "Make room on this file system."),
        "fr": ("{path} a {free_mb} Mo libres ; le tampon peut atteindre {need_mb} Mo.", "Libérer de la place."),
    },
    "state_fault": {
        "en": ("{path} cannot be written: {why}", "Create it, owned by the agent's user, on a disk with room."),
        "fr": (
            "{path} ne peut être écrit : {why}",
            "Le créer, propriété de l'utilisateur de l'agent, avec de la place.",
        ),
    },
    "buffers_ok": {
        "en": ("Receive buffers may grow to {bytes} bytes.", ""),
        "fr": ("Les tampons de réception peuvent atteindre {bytes} octets.", ""),
    },
    "buffers_small": {
        "en": (
            "Receive buffers stop at {bytes} bytes: television may seem to lose packets.",
            "sysctl -w net.core.rmem_max=4194304",
        ),
        "fr": (
            "Tampons de réception limités à {bytes} octets : la TV semblera perdre des paquets.",
            "sysctl -w net.core.rmem_max=4194304",
        ),
    },
    "buffers_unknown": {
        "en": ("The bound of receive buffers cannot be read: {why}", ""),
        "fr": ("La limite des tampons de réception est illisible : {why}", ""),
    },
    "outbox_ok": {
        "en": ("The buffer is whole; {waiting} rows wait for the collector.", ""),
        "fr": ("Le tampon est intact ; {waiting} lignes attendent le collecteur.", ""),
    },
    "outbox_in_use": {
        "en": ("The agent runs and has its buffer to itself; it looked it through at its start.", ""),
        "fr": ("L'agent tourne et garde son tampon pour lui ; il l'a vérifié à son démarrage.", ""),
    },
    "outbox_none": {
        "en": ("There is no buffer yet: the agent has not run here.", ""),
        "fr": ("Pas encore de tampon : l'agent n'a pas tourné ici.", ""),
    },
    "outbox_damaged": {
        "en": (
            "The buffer is damaged: {why}",
            "Restart the agent: it sets the file aside, keeps what is whole and reports the rest. Check the card.",
        ),
        "fr": (
            "Le tampon est abîmé : {why}",
            "Redémarrer l'agent : il écarte le fichier, garde l'intact et signale le reste. Vérifier la carte.",
        ),
    },
    "outbox_unknown": {
        "en": ("The buffer cannot be read now: {why}", "Run the check as the agent's user."),
        "fr": ("Le tampon est illisible pour l'instant : {why}", "Lancer ce contrôle sous l'utilisateur de l'agent."),
    },
}

LEVELS: dict[str, dict[Lang, str]] = {
    "ok": {"en": "ok", "fr": "ok"},
    "warning": {"en": "warning", "fr": "attention"},
    "fault": {"en": "FAULT", "fr": "DÉFAUT"},
    "unknown": {"en": "not known", "fr": "inconnu"},
}

CHECKS: dict[str, dict[Lang, str]] = {
    "config": {"en": "configuration", "fr": "configuration"},
    "credentials": {"en": "credentials", "fr": "identifiants"},
    "clock": {"en": "clock", "fr": "horloge"},
    "network": {"en": "network", "fr": "réseau"},
    "tls": {"en": "encryption", "fr": "chiffrement"},
    "mqtt": {"en": "broker", "fr": "serveur"},
    "ping": {"en": "ping", "fr": "ping"},
    "disk": {"en": "disk", "fr": "disque"},
    "buffers": {"en": "buffers", "fr": "réception"},
    "outbox": {"en": "outbox", "fr": "tampon"},
}
