//! The table of texts: a row each, in English, German, French and Spanish.

/// Generates [`Text`] from the rows.
macro_rules! texts {
    ($($text:ident: $english:literal, $german:literal, $french:literal, $spanish:literal;)*) => {
        /// A text of the page.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Text {
            $($text,)*
        }

        impl Text {
            /// All texts.
            #[cfg(test)]
            pub(crate) const ALL: &'static [Self] = &[$(Self::$text,)*];

            /// Its words in each language.
            pub(crate) fn words(self) -> [&'static str; 4] {
                match self {
                    $(Self::$text => [$english, $german, $french, $spanish],)*
                }
            }
        }
    };
}

// `{}` stands for a number, a name or a time.
texts! {
    // The frame of each page.
    Title: "Backups", "Sicherungen", "Sauvegardes", "Copias de seguridad";
    SkipToContent: "Skip to the content", "Zum Inhalt springen", "Aller au contenu", "Saltar al contenido";
    Overview: "Overview", "Übersicht", "Vue d’ensemble", "Resumen";
    Search: "Search", "Suchen", "Rechercher", "Buscar";
    SearchLabel: "Name or pattern", "Name oder Muster", "Nom ou motif", "Nombre o patrón";
    SearchHint: "A name, or a pattern such as *.pdf or /home/**/notes.txt", "Ein Name oder ein Muster wie *.pdf oder /home/**/notizen.txt", "Un nom, ou un motif comme *.pdf ou /home/**/notes.txt", "Un nombre, o un patrón como *.pdf o /home/**/notas.txt";
    ReadOnly: "This page only reads. Nothing can be changed or deleted here.", "Diese Seite liest nur. Hier lässt sich nichts ändern oder löschen.", "Cette page ne fait que lire. Rien ne peut être modifié ou supprimé ici.", "Esta página solo lee. Aquí no se puede cambiar ni borrar nada.";
    LogOut: "Log out", "Abmelden", "Se déconnecter", "Cerrar sesión";
    Job: "Job", "Auftrag", "Tâche", "Tarea";

    // The sentence on the front page.
    AllWell: "Everything is backed up. The newest snapshot was taken {}.", "Alles ist gesichert. Der neueste Snapshot entstand {}.", "Tout est sauvegardé. Le dernier instantané a été pris {}.", "Todo está respaldado. La última instantánea se tomó {}.";
    OldestNewest: "Everything is backed up. The newest snapshot of each job is at most {} old.", "Alles ist gesichert. Der neueste Snapshot jedes Auftrags ist höchstens {} alt.", "Tout est sauvegardé. Le dernier instantané de chaque tâche a au plus {}.", "Todo está respaldado. La última instantánea de cada tarea tiene como máximo {}.";
    NotYet: "The first snapshot is not complete yet.", "Der erste Snapshot ist noch nicht vollständig.", "Le premier instantané n’est pas encore complet.", "La primera instantánea aún no está completa.";
    NothingHere: "There are no snapshots in this folder yet.", "In diesem Ordner gibt es noch keine Snapshots.", "Il n’y a pas encore d’instantané dans ce dossier.", "Todavía no hay instantáneas en esta carpeta.";
    NoSnapshotFor: "{}: no new snapshot for {}.", "{}: seit {} kein neuer Snapshot.", "{} : pas de nouvel instantané depuis {}.", "{}: ninguna instantánea nueva desde hace {}.";
    NoSnapshot: "{}: there is no snapshot.", "{}: Es gibt keinen Snapshot.", "{} : il n’y a pas d’instantané.", "{}: no hay ninguna instantánea.";
    NeedsALook: "{} needs a look.", "{} braucht Aufmerksamkeit.", "{} demande votre attention.", "{} necesita atención.";

    Mistake: "The settings were changed and have a mistake. Those from before apply:", "Die Einstellungen wurden geändert und haben einen Fehler. Es gelten die vorigen:", "Les réglages ont été modifiés et contiennent une erreur. Les précédents s’appliquent :", "Los ajustes se cambiaron y tienen un error. Se aplican los anteriores:";

    // The facts about a job.
    Healthy: "healthy", "in Ordnung", "en bon état", "en orden";
    Unhealthy: "needs a look", "prüfen", "à vérifier", "revisar";
    Newest: "Newest snapshot", "Neuester Snapshot", "Dernier instantané", "Última instantánea";
    Contains: "Contains", "Enthält", "Contient", "Contiene";
    ContainsOf: "{} on {}", "{} auf {}", "{} sur {}", "{} en {}";
    ContainsHere: "{} on this machine", "{} auf diesem Rechner", "{} sur cette machine", "{} en esta máquina";
    ContainsElsewhere: "{} on another machine that ran the job", "{} auf einem anderen Rechner, der den Auftrag ausführte", "{} sur une autre machine, qui a exécuté la tâche", "{} en otra máquina, que ejecutó la tarea";
    Snapshots: "Snapshots", "Snapshots", "Instantanés", "Instantáneas";
    OfAtMost: "{} of at most {}", "{} von höchstens {}", "{} sur {} au plus", "{} de {} como máximo";
    NextRun: "Next snapshot", "Nächster Snapshot", "Prochain instantané", "Próxima instantánea";
    From: "from {} on", "ab {}", "à partir de {}", "a partir de {}";
    AtNextRun: "at the next run", "beim nächsten Lauf", "à la prochaine exécution", "en la próxima ejecución";
    RunInProgress: "A run is in progress", "Ein Lauf ist im Gange", "Une exécution est en cours", "Hay una ejecución en curso";
    Progress: "{} of about {} entries, {} copied", "{} von etwa {} Einträgen, {} kopiert", "{} sur environ {} éléments, {} copiés", "{} de unas {} entradas, {} copiados";
    ProgressFirst: "{} entries, {} copied", "{} Einträge, {} kopiert", "{} éléments, {} copiés", "{} entradas, {} copiados";
    Rate: "{} a second", "{} pro Sekunde", "{} par seconde", "{} por segundo";
    TimeLeft: "about {} left", "noch etwa {}", "encore environ {}", "quedan unos {}";
    FreeSpace: "Free space", "Freier Platz", "Espace libre", "Espacio libre";
    FreeOf: "{} of {}", "{} von {}", "{} sur {}", "{} de {}";
    DiskFull: "Disk full", "Platte voll", "Disque plein", "Disco lleno";
    InAbout: "in about {}, at {} a day", "in etwa {}, bei {} pro Tag", "dans environ {}, à {} par jour", "en unos {}, a {} por día";
    NotInTenYears: "not within ten years", "nicht in den nächsten zehn Jahren", "pas avant dix ans", "no antes de diez años";
    NotKnown: "not known yet", "noch nicht bekannt", "pas encore connu", "aún no se sabe";
    LastVerify: "Last check", "Letzte Prüfung", "Dernière vérification", "Última verificación";
    NeverVerified: "never", "nie", "jamais", "nunca";
    NoDamage: "no damage", "kein Schaden", "aucun dommage", "sin daños";
    DamagedFiles: "{} damaged files", "{} beschädigte Dateien", "{} fichiers endommagés", "{} archivos dañados";
    Unread: "Not read", "Nicht gelesen", "Non lus", "No leídos";
    UnreadEntries: "{} entries, {} carried forward from the snapshot before", "{} Einträge, {} aus dem Snapshot davor übernommen", "{} éléments, dont {} repris de l’instantané précédent", "{} entradas, {} tomadas de la instantánea anterior";
    Suspicious: "Suspicious changes", "Verdächtige Änderungen", "Modifications suspectes", "Cambios sospechosos";
    OpenFolder: "Open", "Öffnen", "Ouvrir", "Abrir";
    TimeLine: "Time line", "Zeitverlauf", "Chronologie", "Cronología";

    // Why a job is not healthy.
    ReasonOld: "The newest snapshot is {} old. MAX_AGE_H allows {}.", "Der neueste Snapshot ist von vor {}. MAX_AGE_H erlaubt {}.", "Le dernier instantané date d’il y a {}. MAX_AGE_H permet {}.", "La última instantánea es de hace {}. MAX_AGE_H permite {}.";
    ReasonClock: "The clock of this machine was never set. It shows {}.", "Die Uhr dieses Rechners wurde nie gestellt. Sie zeigt {}.", "L’horloge de cette machine n’a jamais été réglée. Elle indique {}.", "El reloj de esta máquina nunca se ha puesto en hora. Marca {}.";
    ReasonFuture: "The newest snapshot, {}, is from the future. Check the clock.", "Der neueste Snapshot, {}, stammt aus der Zukunft. Prüfen Sie die Uhr.", "Le dernier instantané, {}, vient du futur. Vérifiez l’horloge.", "La última instantánea, {}, es del futuro. Compruebe el reloj.";
    ReasonNoSnapshot: "There is no snapshot yet.", "Es gibt noch keinen Snapshot.", "Il n’y a pas encore d’instantané.", "Todavía no hay ninguna instantánea.";
    ReasonNoRun: "There is no snapshot yet, and no run has begun.", "Es gibt noch keinen Snapshot, und kein Lauf hat begonnen.", "Il n’y a pas encore d’instantané, et aucune exécution n’a commencé.", "Todavía no hay ninguna instantánea y no ha empezado ninguna ejecución.";
    ReasonNotCompleted: "No snapshot was completed for {}. MAX_AGE_H allows {}.", "Seit {} wurde kein Snapshot fertig. MAX_AGE_H erlaubt {}.", "Aucun instantané n’a été terminé depuis {}. MAX_AGE_H permet {}.", "Desde hace {} no se ha completado ninguna instantánea. MAX_AGE_H permite {}.";
    ReasonUnread: "Not readable, the oldest since {}: {}. An older version is kept instead. MAX_AGE_H allows {}. The report of {} has the list.", "Nicht lesbar, am längsten seit {}: {}. Stattdessen ist eine ältere Fassung gesichert. MAX_AGE_H erlaubt {}. Die Liste steht im Bericht von {}.", "Illisible, au plus depuis {} : {}. Une version plus ancienne est gardée à la place. MAX_AGE_H permet {}. Le rapport de {} contient la liste.", "No se puede leer, lo más antiguo desde {}: {}. En su lugar se guarda una versión anterior. MAX_AGE_H permite {}. El informe de {} tiene la lista.";
    ReasonFailedOnce: "The last run failed.", "Der letzte Lauf ist fehlgeschlagen.", "La dernière exécution a échoué.", "La última ejecución falló.";
    ReasonFailed: "The last {} runs failed.", "Die letzten {} Läufe sind fehlgeschlagen.", "Les {} dernières exécutions ont échoué.", "Las últimas {} ejecuciones fallaron.";
    ReasonKilled: "The last one was killed, or the machine went down.", "Der letzte wurde abgebrochen, oder der Rechner fiel aus.", "La dernière a été interrompue, ou la machine s’est arrêtée.", "La última fue interrumpida, o la máquina se apagó.";
    ReasonWhy: "The message:", "Die Meldung:", "Le message :", "El mensaje:";
    ReasonStuck: "{} is due for removal and cannot be removed:", "{} soll entfernt werden und lässt sich nicht entfernen:", "{} doit être supprimé et ne peut pas l’être :", "{} debe eliminarse y no se puede eliminar:";
    ReasonNoDrill: "The restore drill of {} could not be done:", "Die Probe der Wiederherstellung vom {} war nicht möglich:", "L’essai de restauration du {} n’a pas pu être fait :", "El ensayo de restauración del {} no se pudo hacer:";
    ReasonDrillFailed: "The restore drill of {} failed. Entries that did not come back as backed up: {} of {}. The first:", "Die Probe der Wiederherstellung vom {} ist fehlgeschlagen. Nicht wie gesichert zurückgekommen: {} aus {}. Der erste Eintrag:", "L’essai de restauration du {} a échoué. Éléments qui ne sont pas revenus tels que sauvegardés : {} de {}. Le premier :", "El ensayo de restauración del {} falló. Entradas que no volvieron como se guardaron: {} de {}. La primera:";
    ReasonOtherSources: "The snapshots belong to other sources than those of this job:", "Die Snapshots gehören zu anderen Quellen als denen dieses Auftrags:", "Les instantanés appartiennent à d’autres sources que celles de cette tâche :", "Las instantáneas son de otros orígenes que los de esta tarea:";
    ReasonMassChange: "Very many files changed or vanished, which may be unwanted:", "Sehr viele Dateien wurden geändert oder sind verschwunden, was ungewollt sein kann:", "De très nombreux fichiers ont changé ou disparu, ce qui n’est peut-être pas voulu :", "Muchísimos archivos cambiaron o desaparecieron, lo que puede no ser deseado:";
    ReasonMassSince: "Since {}.", "Seit {}.", "Depuis {}.", "Desde {}.";
    ReasonMassNoticed: "Noticed in {}.", "Bemerkt in {}.", "Remarqué dans {}.", "Detectado en {}.";
    ReasonNothingRemoved: "No snapshot is removed.", "Es wird kein Snapshot entfernt.", "Aucun instantané n’est supprimé.", "No se elimina ninguna instantánea.";
    ReasonHeld: "{} is held until it is released.", "{} bleibt festgehalten, bis es freigegeben wird.", "{} est conservé jusqu’à sa libération.", "{} queda retenida hasta que se libere.";
    ReasonUnwanted: "If the change was not wanted:", "Wenn die Änderung nicht gewollt war:", "Si le changement n’était pas voulu :", "Si el cambio no era deseado:";
    ReasonWanted: "If it was:", "Wenn sie gewollt war:", "S’il l’était :", "Si lo era:";
    ReasonOldCopy: "Copy in {}: its newest snapshot is {} old. COPY_MAX_AGE_H allows {}.", "Kopie in {}: Ihr neuester Snapshot ist von vor {}. COPY_MAX_AGE_H erlaubt {}.", "Copie dans {} : son dernier instantané date d’il y a {}. COPY_MAX_AGE_H permet {}.", "Copia en {}: su última instantánea es de hace {}. COPY_MAX_AGE_H permite {}.";
    ReasonNoCopy: "Copy in {}: there has been none for {}. COPY_MAX_AGE_H allows {}.", "Kopie in {}: Seit {} gibt es keine. COPY_MAX_AGE_H erlaubt {}.", "Copie dans {} : il n’y en a pas depuis {}. COPY_MAX_AGE_H permet {}.", "Copia en {}: no hay ninguna desde hace {}. COPY_MAX_AGE_H permite {}.";
    ReasonOfCopy: "Copy in {}:", "Kopie in {}:", "Copie dans {} :", "Copia en {}:";
    ReasonUnreadable: "The backups folder cannot be read:", "Der Ordner der Sicherungen kann nicht gelesen werden:", "Le dossier des sauvegardes ne peut pas être lu :", "La carpeta de copias de seguridad no se puede leer:";

    // The further copies of the snapshots.
    Copy: "Copy", "Kopie", "Copie", "Copia";
    CopyWithoutSnapshot: "no snapshot yet", "noch kein Snapshot", "pas encore d’instantané", "aún ninguna instantánea";
    CopyWhole: "complete", "vollständig", "complète", "completa";
    CopyLate: "too old", "zu alt", "trop ancienne", "demasiado antigua";
    CopyAbsent: "its disk is missing", "ihre Platte fehlt", "son disque est absent", "falta su disco";
    CopyFailed: "Not complete:", "Nicht vollständig:", "Incomplète :", "Incompleta:";

    // The time line.
    Snapshot: "Snapshot", "Snapshot", "Instantané", "Instantánea";
    Added: "Added", "Neu", "Ajoutés", "Nuevos";
    Changed: "Changed", "Geändert", "Modifiés", "Cambiados";
    Removed: "Removed", "Entfernt", "Supprimés", "Eliminados";
    Renamed: "Renamed", "Umbenannt", "Renommés", "Renombrados";
    MetadataOnly: "Metadata only", "Nur Metadaten", "Métadonnées seules", "Solo metadatos";
    Size: "Size", "Größe", "Taille", "Tamaño";
    Alone: "It alone holds", "Nur dieser hält", "Lui seul contient", "Solo ella contiene";
    Marks: "Marks", "Merkmale", "Marques", "Marcas";
    MeasureSizes: "Measure what each snapshot holds alone", "Messen, was jeder Snapshot allein hält", "Mesurer ce que chaque instantané est seul à contenir", "Medir lo que contiene solo cada instantánea";
    MeasureHint: "This reads the names of all files, which takes a while on a large disk.", "Das liest die Namen aller Dateien und dauert auf einer großen Platte eine Weile.", "Cela lit les noms de tous les fichiers, ce qui prend du temps sur un grand disque.", "Esto lee los nombres de todos los archivos y tarda en un disco grande.";
    Held: "held", "festgehalten", "conservé", "retenida";
    Damaged: "damaged", "beschädigt", "endommagé", "dañada";
    Incomplete: "incomplete", "unvollständig", "incomplet", "incompleta";
    BeingRemoved: "being removed", "wird entfernt", "en cours de suppression", "se está eliminando";
    UnreadMark: "{} not read", "{} nicht gelesen", "{} non lus", "{} no leídos";
    CompareWithBefore: "Compare with the one before", "Mit dem davor vergleichen", "Comparer avec le précédent", "Comparar con la anterior";
    Calendar: "Calendar", "Kalender", "Calendrier", "Calendario";
    StripLabel: "Changes of each snapshot", "Änderungen je Snapshot", "Modifications par instantané", "Cambios por instantánea";

    // A folder.
    Name: "Name", "Name", "Nom", "Nombre";
    Modified: "Modified", "Geändert am", "Modifié le", "Modificado";
    Change: "Since the snapshot before", "Seit dem Snapshot davor", "Depuis l’instantané précédent", "Desde la instantánea anterior";
    AddedMark: "new", "neu", "nouveau", "nuevo";
    ChangedMark: "changed", "geändert", "modifié", "cambiado";
    MetadataMark: "metadata", "Metadaten", "métadonnées", "metadatos";
    DeletedMark: "deleted, last in {}", "gelöscht, zuletzt in {}", "supprimé, dernier dans {}", "borrado, por última vez en {}";
    ShowDeleted: "Show deleted entries", "Gelöschte Einträge zeigen", "Montrer les éléments supprimés", "Mostrar las entradas borradas";
    HideDeleted: "Hide deleted entries", "Gelöschte Einträge verbergen", "Masquer les éléments supprimés", "Ocultar las entradas borradas";
    DeletedFrom: "Deleted entries are shown if a snapshot from {} on has them.", "Gelöschte Einträge sind gezeigt, wenn ein Snapshot ab {} sie hat.", "Les éléments supprimés sont affichés si un instantané à partir du {} les contient.", "Las entradas borradas se muestran si las tiene una instantánea a partir del {}.";
    EmptyFolder: "This folder is empty.", "Dieser Ordner ist leer.", "Ce dossier est vide.", "Esta carpeta está vacía.";
    At: "As of", "Stand vom", "État du", "Estado del";
    Show: "Show", "Zeigen", "Afficher", "Mostrar";
    Earlier: "Earlier", "Früher", "Plus tôt", "Antes";
    Later: "Later", "Später", "Plus tard", "Después";
    Page: "Page {} of {}", "Seite {} von {}", "Page {} sur {}", "Página {} de {}";
    PreviousPage: "Previous page", "Vorige Seite", "Page précédente", "Página anterior";
    NextPage: "Next page", "Nächste Seite", "Page suivante", "Página siguiente";
    Entries: "{} entries", "{} Einträge", "{} éléments", "{} entradas";
    OneEntry: "1 entry", "1 Eintrag", "1 élément", "1 entrada";
    DownloadTar: "Download as .tar (complete)", "Als .tar laden (vollständig)", "Télécharger en .tar (complet)", "Descargar como .tar (completo)";
    DownloadZip: "Download as .zip (for Windows)", "Als .zip laden (für Windows)", "Télécharger en .zip (pour Windows)", "Descargar como .zip (para Windows)";
    Folder: "folder", "Ordner", "dossier", "carpeta";
    Path: "Path", "Pfad", "Chemin", "Ruta";

    // A file.
    File: "file", "Datei", "fichier", "archivo";
    Symlink: "symbolic link", "symbolischer Link", "lien symbolique", "enlace simbólico";
    Fifo: "named pipe", "benannte Pipe", "tube nommé", "tubería con nombre";
    Socket: "socket", "Socket", "socket", "socket";
    Device: "device", "Gerät", "périphérique", "dispositivo";
    Type: "Type", "Art", "Type", "Tipo";
    Owner: "Owner and group", "Besitzer und Gruppe", "Propriétaire et groupe", "Propietario y grupo";
    Mode: "Mode", "Rechte", "Droits", "Permisos";
    Target: "Target", "Ziel", "Cible", "Destino";
    Versions: "Versions", "Versionen", "Versions", "Versiones";
    Version: "Version", "Version", "Version", "Versión";
    FirstIn: "First in", "Zuerst in", "Premier instantané", "Primera en";
    LastIn: "Last in", "Zuletzt in", "Dernier instantané", "Última en";
    InSnapshots: "In snapshots", "In Snapshots", "Dans des instantanés", "En instantáneas";
    View: "View", "Ansehen", "Voir", "Ver";
    Download: "Download", "Herunterladen", "Télécharger", "Descargar";
    Preview: "Preview", "Vorschau", "Aperçu", "Vista previa";
    NoPreview: "There is no preview of this kind of file. Download it to open it.", "Von dieser Art Datei gibt es keine Vorschau. Zum Öffnen herunterladen.", "Il n’y a pas d’aperçu pour ce type de fichier. Téléchargez-le pour l’ouvrir.", "No hay vista previa de este tipo de archivo. Descárguelo para abrirlo.";
    PreviewCut: "Only the beginning is shown.", "Nur der Anfang wird gezeigt.", "Seul le début est affiché.", "Solo se muestra el principio.";
    PictureOf: "The picture in {}", "Das Bild in {}", "L’image dans {}", "La imagen en {}";
    DiffWithBefore: "Differences from version {}", "Unterschiede zu Version {}", "Différences avec la version {}", "Diferencias con la versión {}";
    DiffTitle: "Differences between two versions", "Unterschiede zwischen zwei Versionen", "Différences entre deux versions", "Diferencias entre dos versiones";
    SameContent: "The two versions have the same content.", "Die beiden Versionen haben denselben Inhalt.", "Les deux versions ont le même contenu.", "Las dos versiones tienen el mismo contenido.";
    Incomparable: "One of the two versions is no text, or too large to compare here.", "Eine der beiden Versionen ist kein Text oder zu groß, um sie hier zu vergleichen.", "L’une des deux versions n’est pas un texte, ou est trop grande pour être comparée ici.", "Una de las dos versiones no es texto, o es demasiado grande para compararla aquí.";
    RemovedLine: "removed line", "entfernte Zeile", "ligne supprimée", "línea eliminada";
    AddedLine: "added line", "neue Zeile", "ligne ajoutée", "línea añadida";
    RenamedFrom: "Renamed. It was {} before.", "Umbenannt. Vorher hieß es {}.", "Renommé. C’était {} avant.", "Renombrado. Antes era {}.";

    // Compare.
    Compare: "Compare", "Vergleichen", "Comparer", "Comparar";
    CompareTitle: "Compare two snapshots", "Zwei Snapshots vergleichen", "Comparer deux instantanés", "Comparar dos instantáneas";
    SourceNow: "the source now", "die Quelle jetzt", "la source maintenant", "el origen ahora";
    SourceUnknown: "It is not known where the source is: there are no settings for it, and no report of a run names it.", "Es ist nicht bekannt, wo die Quelle ist: Es gibt keine Einstellungen dafür, und kein Bericht eines Laufs nennt sie.", "On ne sait pas où est la source : il n’y a pas de réglages pour elle, et aucun rapport d’exécution ne la nomme.", "No se sabe dónde está el origen: no hay ajustes para él y ningún informe de una ejecución lo nombra.";
    SourceOnHost: "The source is on {}. This page connects to no other machine.", "Die Quelle ist auf {}. Diese Seite verbindet sich mit keinem anderen Rechner.", "La source est sur {}. Cette page ne se connecte à aucune autre machine.", "El origen está en {}. Esta página no se conecta a ninguna otra máquina.";
    SourceElsewhere: "The source is on another machine.", "Die Quelle ist auf einem anderen Rechner.", "La source est sur une autre machine.", "El origen está en otra máquina.";
    SourceTooLarge: "The source is so large that this page gave up after a while.", "Die Quelle ist so groß, dass diese Seite nach einer Weile aufgegeben hat.", "La source est si grande que cette page a abandonné après un moment.", "El origen es tan grande que esta página se rindió después de un rato.";
    SourceUnreadable: "The source cannot be read here:", "Die Quelle kann hier nicht gelesen werden:", "La source ne peut pas être lue ici :", "El origen no se puede leer aquí:";
    SourceUnread: "Entries of the source that could not be read and are not compared: {}", "Einträge der Quelle, die nicht gelesen werden konnten und nicht verglichen sind: {}", "Éléments de la source qui n’ont pas pu être lus et ne sont pas comparés : {}", "Entradas del origen que no se pudieron leer y no se comparan: {}";
    First: "First", "Erster", "Premier", "Primera";
    Second: "Second", "Zweiter", "Second", "Segunda";
    NoDifference: "There are no differences.", "Es gibt keine Unterschiede.", "Il n’y a pas de différence.", "No hay diferencias.";
    SumsPerFolder: "Sums per folder", "Summen je Ordner", "Sommes par dossier", "Sumas por carpeta";
    Differences: "Differences", "Unterschiede", "Différences", "Diferencias";
    MoreDifferences: "{} more differences are not listed. Choose a folder to see its own.", "{} weitere Unterschiede sind nicht aufgeführt. Wählen Sie einen Ordner.", "{} autres différences ne sont pas listées. Choisissez un dossier.", "No se muestran otras {} diferencias. Elija una carpeta.";
    CompareWithSource: "This command compares the snapshot with the source as it is now:", "Dieser Befehl vergleicht den Snapshot mit der Quelle, wie sie jetzt ist:", "Cette commande compare l’instantané avec la source telle qu’elle est maintenant :", "Este comando compara la instantánea con el origen tal como está ahora:";
    NotCompared: "{} folders could not be read and are not compared.", "{} Ordner konnten nicht gelesen werden und sind nicht verglichen.", "{} dossiers n’ont pas pu être lus et ne sont pas comparés.", "No se pudieron leer {} carpetas y no se comparan.";

    // Search.
    SearchTitle: "Search all snapshots", "Alle Snapshots durchsuchen", "Rechercher dans tous les instantanés", "Buscar en todas las instantáneas";
    NothingFound: "No snapshot has an entry of this name. A part of a name is found with asterisks around it: *part*", "Kein Snapshot hat einen Eintrag dieses Namens. Ein Teil eines Namens wird mit Sternchen gefunden: *teil*", "Aucun instantané n’a d’élément de ce nom. Une partie d’un nom se trouve entre astérisques : *partie*", "Ninguna instantánea tiene una entrada con este nombre. Una parte del nombre se busca entre asteriscos: *parte*";
    FoundIn: "In {} of {} snapshots", "In {} von {} Snapshots", "Dans {} instantanés sur {}", "En {} de {} instantáneas";
    MoreFound: "{} more are not shown. Write a longer name.", "{} weitere sind nicht gezeigt. Schreiben Sie einen längeren Namen.", "{} autres ne sont pas affichés. Écrivez un nom plus long.", "No se muestran otros {}. Escriba un nombre más largo.";
    ManyFound: "More than {} others are not shown. Write a longer name.", "Mehr als {} weitere sind nicht gezeigt. Schreiben Sie einen längeren Namen.", "Plus de {} autres ne sont pas affichés. Écrivez un nom plus long.", "No se muestran más de {} otros. Escriba un nombre más largo.";
    IgnoreCase: "Upper and lower case are the same", "Groß- und Kleinschreibung ist gleich", "Ignorer la casse", "Ignorar mayúsculas y minúsculas";
    AllJobs: "all", "alle", "toutes", "todas";

    // Restore.
    Restore: "Restore", "Wiederherstellen", "Restaurer", "Restaurar";
    RestoreExplained: "This page restores nothing itself. Type this command on the machine that has the snapshots; it puts the copy into the folder ./restored and replaces nothing there:", "Diese Seite stellt selbst nichts wieder her. Geben Sie diesen Befehl auf dem Rechner mit den Snapshots ein; er legt die Kopie in den Ordner ./restored und ersetzt dort nichts:", "Cette page ne restaure rien elle-même. Tapez cette commande sur la machine qui a les instantanés ; elle place la copie dans le dossier ./restored et n’y remplace rien :", "Esta página no restaura nada por sí misma. Escriba este comando en la máquina que tiene las instantáneas; pone la copia en la carpeta ./restored y no reemplaza nada allí:";

    // Logging in.
    LogIn: "Log in", "Anmelden", "Se connecter", "Iniciar sesión";
    UserName: "Name", "Name", "Nom", "Nombre";
    Password: "Password", "Passwort", "Mot de passe", "Contraseña";
    WrongPassword: "This name and password do not belong together.", "Dieser Name und dieses Passwort gehören nicht zusammen.", "Ce nom et ce mot de passe ne vont pas ensemble.", "Este nombre y esta contraseña no corresponden.";
    TooManyAttempts: "There were too many attempts. Try again in a minute.", "Das waren zu viele Versuche. Versuchen Sie es in einer Minute wieder.", "Il y a eu trop de tentatives. Réessayez dans une minute.", "Hubo demasiados intentos. Vuelva a intentarlo en un minuto.";

    // Failures.
    NotFound: "There is nothing at this address.", "Unter dieser Adresse gibt es nichts.", "Il n’y a rien à cette adresse.", "No hay nada en esta dirección.";
    NoSuchSnapshot: "This snapshot does not exist, or exists no longer.", "Diesen Snapshot gibt es nicht oder nicht mehr.", "Cet instantané n’existe pas, ou n’existe plus.", "Esta instantánea no existe o ya no existe.";
    NoSuchPath: "This snapshot has nothing at this path.", "Dieser Snapshot hat unter diesem Pfad nichts.", "Cet instantané n’a rien à ce chemin.", "Esta instantánea no tiene nada en esta ruta.";
    NoAnswer: "There is no answer: {}", "Es gibt keine Antwort: {}", "Il n’y a pas de réponse : {}", "No hay respuesta: {}";
    CannotRead: "It cannot be read: {}", "Es kann nicht gelesen werden: {}", "Lecture impossible : {}", "No se puede leer: {}";
    Busy: "Too much is being read at once. Try again in a moment.", "Es wird gerade zu viel gelesen. Versuchen Sie es gleich wieder.", "Trop de lectures en cours. Réessayez dans un instant.", "Se está leyendo demasiado a la vez. Inténtelo de nuevo en un momento.";
    Failed: "Something went wrong.", "Etwas ist schiefgegangen.", "Quelque chose s’est mal passé.", "Algo salió mal.";

    // Amounts.
    Ago: "{} ago", "vor {}", "il y a {}", "hace {}";
    JustNow: "just now", "gerade eben", "à l’instant", "ahora mismo";
    InTheFuture: "in the future", "in der Zukunft", "dans le futur", "en el futuro";
    OneSecond: "1 second", "1 Sekunde", "1 seconde", "1 segundo";
    Seconds: "{} seconds", "{} Sekunden", "{} secondes", "{} segundos";
    Minute: "1 minute", "1 Minute", "1 minute", "1 minuto";
    Minutes: "{} minutes", "{} Minuten", "{} minutes", "{} minutos";
    Hour: "1 hour", "1 Stunde", "1 heure", "1 hora";
    Hours: "{} hours", "{} Stunden", "{} heures", "{} horas";
    Day: "1 day", "1 Tag", "1 jour", "1 día";
    Days: "{} days", "{} Tagen", "{} jours", "{} días";
    Month: "1 month", "1 Monat", "1 mois", "1 mes";
    Months: "{} months", "{} Monaten", "{} mois", "{} meses";
    Weekdays: "Mo Tu We Th Fr Sa Su", "Mo Di Mi Do Fr Sa So", "Lu Ma Me Je Ve Sa Di", "Lu Ma Mi Ju Vi Sá Do";
}
